"""Statistics of experiments against published values and against what they promise in simulation."""

import random

import pytest
from pydantic import ValidationError

from shared.core.errors import ConfigError
from shared.evaluation.ab import AbConfig, chi_square_tail, means, rates, rows_needed, sample_ratio_p_value, t_quantile


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # Newcombe 1998, table II, method 10
        ((48, 80), (56, 70), 0.0524, 0.3339),
        ((3, 10), (9, 10), 0.1705, 0.8090),
        ((2, 7), (6, 7), 0.0582, 0.8062),
        ((0, 29), (5, 56), -0.0381, 0.1926),
        ((0, 20), (0, 10), -0.1611, 0.2775),
        ((0, 10), (10, 10), 0.6075, 1.0),
    ],
)
def test_intervals_of_two_rates_are_newcombes(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    found = rates(first, second)

    assert (found.low, found.high) == pytest.approx((low, high), abs=5.1e-5)
    turned = rates(second, first)
    assert (turned.low, turned.high) == pytest.approx((-high, -low), abs=5.1e-5)


def test_the_interval_of_two_means_is_welchs() -> None:
    # Sleep after two drugs (Student 1908): R's t.test(extra ~ group) has df 17.776 and -3.3654832 to 0.2054832.
    first, second = (2.33, 2.0022493**2, 10), (0.75, 1.78901**2, 10)

    found = means(first, second)

    assert (found.value, found.low, found.high) == pytest.approx((-1.58, -3.3654832, 0.2054832), abs=1e-3)
    assert means((1.0, 0.0, 5), (3.0, 0.0, 5)).low == 2.0


def test_quantiles_and_tails_are_those_of_the_tables() -> None:
    for share, freedom, value in ((0.975, 10, 2.2281), (0.95, 20, 1.7247), (0.995, 30, 2.7500), (0.975, 1e9, 1.9600)):
        assert t_quantile(share, freedom) == pytest.approx(value, abs=3e-4)
    for distance, freedom, tail in ((10.828, 1, 0.001), (13.816, 2, 0.001), (11.070, 5, 0.05), (18.307, 10, 0.05)):
        assert chi_square_tail(distance, freedom) == pytest.approx(tail, rel=1e-3)


@pytest.mark.parametrize(
    ("rate", "effect", "power", "rows"),
    [
        (0.75, 0.25, 0.9, 77),  # R, ?power.prop.test: n = 76.7
        (0.7, 0.1, 0.8, 356),  # Fleiss: 0.6 against 0.7; n = 355.9
        (0.10, 0.05, 0.8, 435),  # 434.4
    ],
)
def test_rows_needed_are_those_of_the_books(rate: float, effect: float, power: float, rows: int) -> None:
    assert rows_needed(rate, effect, power=power) == (rows, rows)


def test_unequal_arms_need_more_rows_in_all() -> None:
    equal, unequal = rows_needed(0.1, 0.02), rows_needed(0.1, 0.02, share=0.1)

    assert unequal[1] / sum(unequal) == pytest.approx(0.1, abs=1e-3)
    assert sum(unequal) > 2 * sum(equal)
    with pytest.raises(ConfigError, match="EFFECT_INVALID"):
        rows_needed(0.1, 0.1)


def test_the_rows_needed_find_the_effect_as_often_as_promised() -> None:
    draw = random.Random(3)
    first, second = rows_needed(0.3, 0.1, share=0.3, power=0.8)

    def finds() -> bool:
        hits = [sum(draw.random() < rate for _ in range(rows)) for rate, rows in ((0.3, first), (0.2, second))]
        found = rates((hits[0], first), (hits[1], second))
        return not found.low <= 0 <= found.high

    assert sum(finds() for _ in range(400)) / 400 == pytest.approx(0.8, abs=0.06)


def test_a_split_that_works_is_told_from_one_that_loses_customers() -> None:
    shares = {"champion": 0.9, "challenger": 0.1}

    assert sample_ratio_p_value({"champion": 9000, "challenger": 1000}, shares) == pytest.approx(1)
    assert sample_ratio_p_value({"champion": 9050, "challenger": 950}, shares) == pytest.approx(0.0956, abs=1e-3)
    assert sample_ratio_p_value({"champion": 9000, "challenger": 850}, shares) < 0.001
    assert sample_ratio_p_value({"champion": 100}, shares) < 0.001  # nobody in the other arm
    with pytest.raises(ConfigError, match="SPLIT_INVALID"):
        sample_ratio_p_value({"previous": 3}, shares)


def test_a_split_is_written_as_on_the_command_line_or_as_yaml() -> None:
    assert AbConfig(split="champion=0.9, challenger=0.1").split == {"champion": 0.9, "challenger": 0.1}
    assert AbConfig(split={"champion": 0.5, "previous": 0.5}).split == {"champion": 0.5, "previous": 0.5}
    for wrong in ("champion=1", "champion=0.9,challenger=0.2", "champion", "champion=1.5,challenger=-0.5", "a=x,b=1"):
        with pytest.raises(ValidationError):
            AbConfig(split=wrong)
