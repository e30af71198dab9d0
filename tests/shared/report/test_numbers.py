"""Numbers as people read them."""

import math

import pytest

from shared.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234, "1,234"),
        (-1234, "−1,234"),
        (0.5, "0.5"),
        (999.96, "1,000"),
        (1_234_567.8, "1,234,568"),
        (-0.0, "0"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (True, "True"),
        ("plan-a", "plan-a"),
    ],
)
def test_a_number_is_written_for_people(value: float | str, text: str) -> None:
    assert numbers.number(value) == text


def test_what_is_not_known_is_a_dash_everywhere() -> None:
    formats = (numbers.number, numbers.percent, numbers.money)
    assert [format_(None) for format_ in formats] == ["–"] * 3
    assert [format_(math.nan) for format_ in (numbers.number, numbers.percent, numbers.money)] == ["–"] * 3
    assert numbers.alike(None, 0.5) == numbers.alike(math.nan, 0.5) == "–"


def test_a_row_of_numbers_lines_up_also_where_the_model_is_at_zero() -> None:
    assert [numbers.alike(value, 0.8476) for value in (0.8476, 0.5, 1.0)] == ["0.848", "0.500", "1.000"]
    assert numbers.alike(12_345.6, 12_345.6) == "12,346"
    assert numbers.alike(0.25, 0.0) == "0.250"
    assert numbers.alike(0.25, math.nan) == "0.250"
    assert numbers.alike(-0.0001, 0.5) == "0.000"


def test_a_rate_is_never_rounded_to_nothing() -> None:
    shown = [numbers.percent(rate) for rate in (0.0, 1e-9, 0.0004, 0.5, 1.0, -0.25)]
    assert shown == ["0%", "<0.01%", "0.04%", "50.0%", "100.0%", "−25.0%"]


def test_wilson_gives_the_published_interval() -> None:
    # Newcombe (1998), Statistics in Medicine 17: 857-872, table I, method 3: 81/263, 15/148, 0/20, 1/29.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (positives, rows), bounds in published.items():
        assert numbers.wilson(positives / rows, rows, 1.959964) == pytest.approx(bounds, abs=5e-5)
    assert numbers.wilson(0.0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_wilson_holds_the_rate_itself_whatever_the_rounding(rate: float) -> None:
    for rows in range(1, 500):
        low, high = numbers.wilson(rate, rows)
        assert low <= rate <= high


def test_money_rounds_before_it_takes_a_sign() -> None:
    assert [numbers.money(amount) for amount in (-0.4, -0.6, 1_000_000)] == ["0", "−1", "1,000,000"]
