"""Metrics, plots and money of a yes/no model, from what an evaluation stored."""

import re
from typing import Any

import pytest

from shared.evaluation.thresholds import Confusion, Costs
from shared.report import binary

# Ten rows, four of them positive; the points say what is selected from each threshold on.
EVALUATION: dict[str, Any] = {
    "test": {"rows": 10, "positives": 4, "auc": 0.8, "ece": 0.05, "ece_by_chance": 0.04, "lift_at_10pct": 2.0},
    "baseline": {"auc": 0.5, "ece": 0.0, "lift_at_10pct": 1.0},
    "ceiling": {},
    "points": [[0.9, 2, 0], [0.5, 3, 2], [0.2, 4, 3], [0.1, 4, 6]],
    "calibration": [[0.1, 0.1, 10]],
    "confusion": {"threshold": 0.2, "true_positives": 4, "false_positives": 3},
    "slices": {},
}


@pytest.mark.parametrize(
    ("contact", "counts"),
    [
        (20.0, (4, 3, 0, 3)),  # the threshold of the evaluation, 0.2
        (40.0, (3, 2, 1, 4)),  # 0.4 after a change: the last point that is not below it is at 0.5
        (95.0, (0, 0, 4, 6)),  # above every score
    ],
)
def test_the_decision_is_that_of_the_costs_shown(contact: float, counts: tuple[int, int, int, int]) -> None:
    costs = Costs(contact=contact, value_saved=100.0, success_rate=1.0)

    assert binary.decided_at(EVALUATION, costs) == Confusion(costs.threshold, *counts)


def test_counts_of_the_evaluation_are_not_read_off_the_curve() -> None:
    counted = {"threshold": 0.3, "true_positives": 4, "false_positives": 2}
    costs = Costs(contact=30.0, value_saved=100.0, success_rate=1.0)

    assert binary.decided_at({**EVALUATION, "confusion": counted}, costs).false_positives == 2


def test_the_money_of_the_cells_is_that_of_the_costs() -> None:
    costs = Costs(contact=10.0, value_saved=200.0, success_rate=0.25)

    shown = binary.confusion(Confusion(0.2, 10, 30, 5, 55), costs, positive="leaves", negative="stays")

    assert (shown.earned, shown.spent, shown.missed) == (400.0, -300.0, 200.0)
    assert shown.profit == costs.profit(10, 30)


def test_lift_without_a_ceiling_is_held_against_a_perfect_order() -> None:
    # Four of ten rows are positive: the best tenth has a rate of 1, 2.5 times that of all.
    (lift,) = binary.metrics(EVALUATION, {"lift_at_10pct": ""})

    assert lift.end == 2.5
    assert lift.reached(2.0) == pytest.approx(2 / 3, abs=1e-6)


def test_calibration_error_stands_beside_chance_and_not_beside_a_constant() -> None:
    (error,) = binary.metrics(EVALUATION, {"ece": "mean distance"})

    assert error.baseline is None
    assert error.meaning == "mean distance; 0.040 by chance alone on so few rows"


@pytest.mark.parametrize(
    ("error", "by_chance", "is_fine"), [(0.03, 0.0, True), (0.05, 0.04, True), (0.05, 0.03, False)]
)
def test_probabilities_are_trusted_up_to_what_chance_leaves(error: float, by_chance: float, is_fine: bool) -> None:
    assert binary.is_calibrated({"ece": error, "ece_by_chance": by_chance}) is is_fine


def test_the_share_found_is_read_off_between_two_points() -> None:
    # Two rows hold half of the positives, five hold three quarters; so 3.5 rows hold 0.625.
    assert binary.found_in(EVALUATION, 0.35) == pytest.approx(0.625)


def test_every_plot_says_what_it_shows_and_speaks_of_the_same_rows() -> None:
    costs = Costs(contact=20.0, value_saved=100.0, success_rate=1.0)
    drawn = binary.plots(EVALUATION, binary.decided_at(EVALUATION, costs), costs, positives="churners")

    assert [figure.title for figure in drawn if figure.section == "decision"] == ["Gains", "Profit"]
    assert all(figure.caption for figure in drawn)
    profit = next(figure.svg for figure in drawn if figure.title == "Profit")
    assert re.findall(r">(select [^<]+)<", profit) == [f"select 70%: {costs.profit(4, 3):,.0f}"]
