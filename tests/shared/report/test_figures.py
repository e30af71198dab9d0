"""The plots: light, the same for the same points, with their words as text."""

import re
import threading
from xml.etree import ElementTree

import matplotlib
import pytest

from shared.report import figures

CURVE = [(0.0, 0.0), (0.1, 0.4), (0.5, 0.8), (1.0, 1.0)]
BINS = [(0.05, 0.04, 100), (0.3, 0.35, 80), (0.8, 0.7, 3)]

DRAWN = {
    "roc": lambda: figures.roc(CURVE, 0.75),
    "precision_recall": lambda: figures.precision_recall([(0.1, 0.9), (1.0, 0.2)], 0.2),
    "gains": lambda: figures.gains(CURVE, 0.2),
    "lift": lambda: figures.lift([(0.1, 4.0), (1.0, 1.0)]),
    "calibration": lambda: figures.calibration(BINS),
    "profit": lambda: figures.profit([(0.0, 0.0), (0.5, 80.0), (1.0, -20.0)], 0.4),
}
AXES = {
    "roc": ("false positive rate", "true positive rate"),
    "precision_recall": ("recall", "precision"),
    "gains": ("share of customers, highest score first", "share of positives found"),
    "lift": ("share of customers, highest score first", "lift (times the rate of all)"),
    "calibration": ("predicted probability", "observed rate"),
    "profit": ("share of customers, highest score first", "expected profit, currency units"),
}
EMPTY = {
    "roc": lambda: figures.roc([], 0.5),
    "precision_recall": lambda: figures.precision_recall([], 0.2),
    "gains": lambda: figures.gains([], 0.2),
    "lift": lambda: figures.lift([]),
    "calibration": lambda: figures.calibration([]),
    "profit": lambda: figures.profit([], 0.0),
}


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_is_one_light_element_that_points_nowhere_and_is_always_the_same(name: str) -> None:
    svg = DRAWN[name]()
    assert ElementTree.fromstring(svg).tag == "svg"
    assert len(svg) < 40_000
    assert "://" not in svg
    assert "<style" not in svg
    assert svg == DRAWN[name]()
    ids = re.findall(r' id="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert set(ids) == set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))


@pytest.mark.parametrize("name", DRAWN)
def test_every_axis_says_what_it_measures(name: str) -> None:
    across, up = AXES[name]
    assert {across, up} <= set(words(DRAWN[name]()))


@pytest.mark.parametrize("name", EMPTY)
def test_a_plot_of_nothing_is_drawn_without_a_curve(name: str) -> None:
    assert ElementTree.fromstring(EMPTY[name]()).tag == "svg"


def test_different_plots_share_no_ids() -> None:
    ids = [set(re.findall(r' id="([^"]+)"', draw())) for draw in DRAWN.values()]
    assert sum(map(len, ids)) == len(set().union(*ids)) > 0


def test_the_curve_is_read_off_at_the_mark() -> None:
    # Halfway between (0.1, 0.4) and (0.5, 0.8) lies (0.3, 0.6).
    assert "model: first 30% hold 60%" in words(figures.gains(CURVE, 0.2, mark=0.3))
    assert "model" in words(figures.gains(CURVE, 0.2, mark=None))
    assert "2.50× in the first 55%" in words(figures.lift([(0.1, 4.0), (1.0, 1.0)], mark=0.55))
    assert "2.47× in the first 55%" in words(figures.lift([(0.1, 4.0), (1.0, 1.0)], mark=0.55, lifted=2.47))
    assert "4.00× in the first 5%" in words(figures.lift([(0.1, 4.0), (1.0, 1.0)], mark=0.05))


def test_axes_speak_of_the_rows_they_were_given() -> None:
    shown = words(figures.gains(CURVE, 0.2, rows="machines", positives="failures"))
    assert {"share of machines, highest score first", "share of failures found"} <= set(shown)


def test_profit_names_the_share_and_the_exact_amount() -> None:
    curve = [(0.0, 0.0), (0.5, 80_000.0), (1.0, -20_000.0)]
    shown = words(figures.profit(curve, 0.35, earned=54_321.0))
    assert "select 35%: 54,321" in shown
    assert "−20,000" in shown
    assert "select 35%" in words(figures.profit(curve, 0.35))


def test_words_are_shown_as_they_are() -> None:
    for odd in ("$a_1$ and $b^2$", '<b> & "q" id="x"', "特徴量", "a.123456789"):
        assert f"share of {odd} found" in words(figures.gains(CURVE, 0.2, positives=odd))


def test_settings_of_matplotlib_stay_as_they_were_even_with_threads() -> None:
    before = dict(matplotlib.rcParams)
    drawn: list[str] = []
    threads = [threading.Thread(target=lambda: drawn.append(figures.roc(CURVE, 0.75))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(drawn) == {figures.roc(CURVE, 0.75)}
    assert len(drawn) == 4
    assert dict(matplotlib.rcParams) == before
