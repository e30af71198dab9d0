"""Plots as SVG text, from plain points; the same points give the same text.

Text in a plot stays text, so the plots read as well as the page and can be searched. Settings of matplotlib are changed
under a lock and put back: reports may be drawn in threads, beside other plots.
"""

import hashlib
import io
import math
import re
import threading
import warnings
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator

from shared.report.numbers import money, number, percent, wilson

# Blue, vermilion and green of Okabe & Ito's palette, which people with any colour vision tell apart.
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
INK, SOFT, GREY, PALE = "#1c2733", "#56636f", "#8a94a0", "#cfe4f3"
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": "#c3cad2",
    "axes.labelcolor": SOFT,
    "axes.axisbelow": True,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.grid": True,
    "grid.color": "#e9edf1",
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}
_LOCK = threading.Lock()

Points = Sequence[tuple[float, float]]


def roc(points: Points, auc: float) -> str:
    """Draw (false positive rate, true positive rate) over the diagonal of chance."""
    with _drawing():
        canvas, axes = _axes("false positive rate", "true positive rate")
        _reference(axes, [(0, 0), (1, 1)], "chance, AUC 0.500")
        _curve(axes, points, f"model, AUC {auc:.3f}", fill=True)
        _shares(axes)
        axes.legend(loc="lower right")
        return _svg(canvas)


def precision_recall(points: Points, rate: float) -> str:
    """Draw (recall, precision) over the positive rate, the precision of selecting everybody."""
    with _drawing():
        canvas, axes = _axes("recall", "precision")
        _reference(axes, [(0, rate), (1, rate)], f"everybody, {percent(rate)}")
        _curve(axes, points, "model", fill=True)
        _shares(axes)
        axes.legend(loc="upper right" if points and points[-1][1] < 0.6 else "lower left")
        return _svg(canvas)


def gains(
    points: Points, rate: float, *, rows: str = "customers", positives: str = "positives", mark: float | None = 0.2
) -> str:
    """Draw (share selected, share of positives found), between chance and the best possible order.

    Args:
        points: the curve, by ascending share, from (0, 0) to (1, 1).
        rate: positive rate; says where the best possible order has found all.
        rows, positives: what the axes call them.
        mark: share selected at which the curve is read off in words; None for no mark.
    """
    with _drawing():
        canvas, axes = _axes(f"share of {rows}, highest score first", f"share of {positives} found")
        axes.plot([0, rate, 1], [0, 1, 1], color=GREEN, linewidth=1.2, linestyle=":", label="perfect order")
        _reference(axes, [(0, 0), (1, 1)], "by chance")
        at_mark = f": first {mark:.0%} hold {read_off(points, mark):.0%}" if mark is not None and points else ""
        _curve(axes, points, f"model{at_mark}", fill=True)
        _shares(axes)
        if mark is not None and points:
            _mark(axes, mark, read_off(points, mark))
        axes.legend(loc="lower right")
        return _svg(canvas)


def lift(points: Points, *, rows: str = "customers", mark: float | None = 0.1, lifted: float | None = None) -> str:
    """Draw (share selected, lift): the positive rate among the selected over that among all.

    Args:
        points: the curve, by ascending share.
        rows: what the axis calls them.
        mark: share selected at which the curve is read off in words; None for no mark.
        lifted: lift at the mark, to be written there; the curve alone would give it only nearly.
    """
    with _drawing():
        canvas, axes = _axes(f"share of {rows}, highest score first", "lift (times the rate of all)")
        _reference(axes, [(0, 1), (1, 1)], "by chance")
        axes.text(0.015, 0.97, "by chance", va="top", color=SOFT, fontsize=9)
        _curve(axes, points, "model")
        axes.set(xlim=(0, 1), ylim=(0, max((y for _, y in points), default=1.0) * 1.12))
        axes.xaxis.set_major_formatter(FuncFormatter(_percent_tick))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}×"))
        if mark is not None and points:
            at_mark = read_off(points, mark) if lifted is None else lifted
            _mark(axes, mark, at_mark, f"{at_mark:.2f}× in the first {mark:.0%}", (10, 8))
        return _svg(canvas)


def calibration(bins: Sequence[tuple[float, float, int]]) -> str:
    """Draw predicted probability against observed rate with 95 % Wilson intervals; below, the rows of each bin.

    Args:
        bins: mean predicted probability, observed rate and number of rows.
    """
    with _drawing():
        canvas = _canvas()
        axes, below = canvas.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        predicted, observed = [p for p, _, _ in bins], [o for _, o, _ in bins]
        bounds = [wilson(o, n) for _, o, n in bins]
        top = min(max([*predicted, *(high for _, high in bounds)], default=1.0) * 1.06, 1.0)
        _reference(axes, [(0, 0), (top, top)], "perfect")
        away = [[o - low for o, (low, _) in zip(observed, bounds, strict=True)]]
        away.append([high - o for o, (_, high) in zip(observed, bounds, strict=True)])
        axes.errorbar(predicted, observed, away, fmt="none", ecolor=BLUE, elinewidth=1.2, capsize=2.5, alpha=0.6)
        axes.plot(predicted, observed, color=BLUE, linewidth=1.4, marker="o", markersize=5, label="model")
        axes.set(xlim=(0, top), ylim=(0, top), ylabel="observed rate")
        below.bar(predicted, [n for *_, n in bins], width=top / 60, color=BLUE, alpha=0.75)
        below.set(xlabel="predicted probability", ylabel="rows")
        below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        below.yaxis.set_major_formatter(FuncFormatter(lambda y, _: number(round(y))))
        for part in (axes, below):
            part.tick_params(length=0, pad=5)
        axes.xaxis.set_major_formatter(FuncFormatter(_percent_tick))
        axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick))
        axes.legend(loc="upper left")
        return _svg(canvas)


def profit(
    points: Points,
    chosen_share: float,
    *,
    earned: float | None = None,
    rows: str = "customers",
) -> str:
    """Draw (share selected, profit), with the share that the threshold selects.

    Args:
        points: the curve, by ascending share, from (0, 0).
        chosen_share: share of the rows at or above the threshold.
        earned: profit at the threshold, to be written there; the curve alone would give it only nearly.
        rows: what the axis calls them.
    """
    with _drawing():
        canvas, axes = _axes(f"share of {rows}, highest score first", "expected profit, currency units")
        x, y = [x for x, _ in points], [y for _, y in points]
        axes.fill_between(x, y, 0, where=[v >= 0 for v in y], interpolate=True, color=BLUE, alpha=0.09, linewidth=0)
        axes.fill_between(x, y, 0, where=[v < 0 for v in y], interpolate=True, color=ORANGE, alpha=0.12, linewidth=0)
        axes.axhline(0, color=GREY, linewidth=1)
        axes.plot(x, y, color=BLUE, linewidth=2)
        axes.axvline(chosen_share, color=ORANGE, linestyle="--", linewidth=1.2)
        axes.set_xlim(0, 1)
        axes.margins(y=0.08)
        words = f"select {chosen_share:.0%}" + (f": {money(earned)}" if earned is not None else "")
        side = "left" if chosen_share < 0.25 else "right" if chosen_share > 0.75 else "center"
        axes.text(
            *(chosen_share, 1.02, words),
            transform=axes.get_xaxis_transform(),
            ha=side,
            color=ORANGE,
            weight="bold",
            fontsize=9.5,
        )
        if points:
            _mark(axes, chosen_share, read_off(points, chosen_share), colour=ORANGE)
        axes.xaxis.set_major_formatter(FuncFormatter(_percent_tick))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda amount, _: money(amount)))
        return _svg(canvas)


def history(
    windows: Sequence[str],
    lines: Sequence[tuple[str, Sequence[float | None]]],
    y: str,
    *,
    bound: float | None = None,
    marked: Sequence[int] = (),
    watched_from: int = 0,
    is_share: bool = False,
) -> str:
    """Draw values over windows; where a value is None the line is broken.

    Args:
        windows: names, ascending.
        lines: label and values of at most three lines.
        y: what the values are.
        bound: a value to draw a dashed line at.
        marked: places of the first line to mark as violations.
        watched_from: place of the first window that counts; those before are shaded.
        is_share: write the values as percentages.
    """
    with _drawing():
        canvas, axes = _axes("", y)
        places = range(len(windows))
        if watched_from > 0:
            end = min(watched_from, len(windows)) - 0.5
            axes.axvspan(-0.5, end, color="#eef2f5", zorder=0)
            axes.text(-0.4, 1.01, "training", transform=axes.get_xaxis_transform(), color=SOFT, fontsize=8.5)
        for (label, values), colour in zip(lines, (BLUE, ORANGE, GREEN), strict=False):
            drawn = [math.nan if value is None else value for value in values]
            axes.plot(places, drawn, color=colour, linewidth=1.8, marker="o", markersize=4, label=label)
        if marked:
            found = [math.nan if (value := lines[0][1][place]) is None else value for place in marked]
            axes.plot(list(marked), found, "o", color=ORANGE, markersize=9, markerfacecolor="none", markeredgewidth=2)
        if bound is not None:
            axes.axhline(bound, color=GREY, linestyle="--", linewidth=1)
        axes.set_xlim(-0.5, max(len(windows) - 0.5, 0.5))
        known = [value for _, values in lines for value in values if value is not None]
        if min(known, default=0.0) >= 0:
            axes.set_ylim(0, 1.12 * max([*known, bound or 0.0]) or 1.0)
        step = max(-(-len(windows) // 6), 1)
        shown = [*places][::-1][::step][::-1]
        axes.set_xticks(shown, [windows[place] for place in shown], fontsize=8)
        if is_share:
            axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick))
        if len(lines) > 1:
            axes.legend(loc="best")
        return _svg(canvas)


def read_off(points: Points, x: float) -> float:
    """Return the y of a curve with ascending x at ``x``, between two points on the line that joins them."""
    place = bisect_left([point[0] for point in points], x)
    if place == 0 or place == len(points):
        return points[min(place, len(points) - 1)][1]
    (left, low), (right, high) = points[place - 1], points[place]
    return low + (high - low) * (x - left) / (right - left)


def _curve(axes: Axes, points: Points, label: str, *, fill: bool = False) -> None:
    x, y = [x for x, _ in points], [y for _, y in points]
    if fill:
        axes.fill_between(x, y, color=BLUE, alpha=0.07, linewidth=0)
    axes.plot(x, y, color=BLUE, linewidth=2, label=label)


def _reference(axes: Axes, points: Points, label: str) -> None:
    axes.plot([x for x, _ in points], [y for _, y in points], color=GREY, linestyle="--", linewidth=1, label=label)


def _mark(
    axes: Axes, x: float, y: float, words: str = "", offset: tuple[float, float] = (0, 0), colour: str = BLUE
) -> None:
    axes.plot([x], [y], marker="o", markersize=7, color=colour, markeredgecolor="white", markeredgewidth=1.5, zorder=5)
    if words:
        axes.annotate(
            words, (x, y), xytext=offset, textcoords="offset points", color=colour, weight="bold", fontsize=9.5
        )


def _shares(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.xaxis.set_major_formatter(FuncFormatter(_percent_tick))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick))


def _percent_tick(value: float, _: object) -> str:
    return f"{100 * value:g}%" if abs(100 * value - round(100 * value)) > 1e-6 else f"{round(100 * value)}%"


@contextmanager
def _drawing() -> Iterator[None]:
    """Draw in the house style; a glyph that matplotlib lacks is the browser's to find, so it is no warning."""
    with _LOCK, matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        yield


def _axes(x: str, y: str) -> tuple[Canvas, Axes]:
    canvas = _canvas()
    axes = canvas.subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.tick_params(length=0, pad=5)
    return canvas, axes


def _canvas() -> Canvas:
    canvas = Canvas(figsize=(5.2, 3.4), layout="constrained")
    FigureCanvasSVG(canvas)
    return canvas


def _svg(canvas: Canvas) -> str:
    """Return the drawing as an element for a page: no prolog, no metadata, ids that are its own and always the same."""
    text = io.StringIO()
    canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    drawn = text.getvalue()[text.getvalue().index("<svg") :]
    bare = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>", "", drawn, flags=re.DOTALL)
    # Text is escaped, so what is in angle brackets is a tag: names with odd characters stay as they are.
    light = re.sub(r"<[^>]+>", lambda tag: _light(tag[0]), re.sub(r">\s+<", "><", bare)).strip()
    names = list(dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]+)', light)))
    plain = _renamed(light, names, "")
    return _renamed(light, names, f"g{hashlib.sha256(plain.encode()).hexdigest()[:8]}-")


def _light(tag: str) -> str:
    """Shorten numbers to what a screen shows; name spaces look like addresses, and a page does not need them."""
    if tag.startswith("<svg "):
        tag = re.sub(r' (?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", tag).replace("<svg ", '<svg role="img" ')
    tag = tag.replace("xlink:href", "href").replace("'DejaVu Sans'", "system-ui, sans-serif")
    tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    return re.sub(r"\s+", " ", re.sub(r"(\.\d\d)\d+", r"\1", tag))


def _renamed(svg: str, names: Sequence[str], prefix: str) -> str:
    """Number the ids in the order they are referred to, and drop those that nothing refers to."""

    def tag(found: re.Match[str]) -> str:
        known = re.sub(r' id="([^"]*)"', lambda id_: id_[0] if id_[1] in names else "", found[0])
        return re.sub(r'( id="|href="#|url\(#)([^")]+)', lambda id_: f"{id_[1]}{prefix}{names.index(id_[2])}", known)

    return re.sub(r"<[^>]+>", tag, svg)
