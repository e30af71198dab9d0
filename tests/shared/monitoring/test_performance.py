"""Performance by window against scikit-learn, and what counts as a loss."""

import random
from typing import Any

import pytest
from pyspark.sql import SparkSession
from sklearn.metrics import brier_score_loss, roc_auc_score

from shared.monitoring.performance import Performance, by_window, loss
from shared.monitoring.settings import MonitoringConfig

SETTINGS = MonitoringConfig()
TEST = {"auc": 0.85, "rows": 4_000, "positives": 300}


def test_every_window_has_its_own_figures_as_far_as_there_are_labels(spark: SparkSession) -> None:
    draw = random.Random(2)
    scored = [(draw.random(), draw.random()) for _ in range(300)]
    rows: list[tuple[str, float, int | None]] = [("2024-01-01", p, int(chance < p)) for p, chance in scored]
    rows += [("2024-02-01", p, 1 if place < 5 else None) for place, (p, _) in enumerate(scored[:50])]
    rows += [("2024-03-01", 0.5, None)] * 3

    found = by_window(
        spark.createDataFrame(rows, "window string, p double, y int"), window="window", label="y", probability="p"
    )

    labels, probabilities = [int(c < p) for p, c in scored], [p for p, _ in scored]
    first, second, third = found
    assert first.auc == pytest.approx(roc_auc_score(labels, probabilities))
    assert first.brier == pytest.approx(brier_score_loss(labels, probabilities))
    assert first.ece == pytest.approx(ece(labels, probabilities))
    assert (first.observed, first.predicted) == (
        pytest.approx(sum(labels) / 300),
        pytest.approx(sum(probabilities) / 300),
    )
    assert first.chance == pytest.approx(sum(p * (1 - p) for p in probabilities) ** 0.5 / 300)
    assert (first.labelled_share, first.reason) == (1.0, "")
    assert (second.rows, second.labelled, second.labelled_share) == (50, 5, 0.1)
    assert (second.auc, second.observed) == (None, 1.0)
    assert second.reason == "5 positives of 5: AUC needs 20 of each class"
    assert (third.labelled, third.brier, third.reason) == (0, None, "no label has matured yet")


def ece(labels: list[int], probabilities: list[float]) -> float:
    gaps = [0.0] * 10
    for label, p in zip(labels, probabilities, strict=True):
        gaps[min(int(p * 10), 9)] += label - p
    return sum(map(abs, gaps)) / len(labels)


def window(**values: Any) -> Performance:
    return Performance(**{"window": "w", "rows": 2_000, "labelled": 1_000, "positives": 80, **values})


def test_a_loss_beyond_chance_and_of_a_size_that_matters_is_said_with_the_labelled_share() -> None:
    assert loss(window(auc=0.70), TEST, SETTINGS) == "AUC 0.700 where the test rows had 0.850 (labels of 50%)"
    assert loss(window(auc=0.84), TEST, SETTINGS) == ""
    assert loss(window(auc=0.95), TEST, SETTINGS) == ""


def test_a_loss_that_chance_explains_is_none() -> None:
    assert loss(window(auc=0.78, positives=20, labelled=60), TEST, SETTINGS) == ""
    assert loss(window(auc=0.78, positives=800, labelled=10_000, rows=10_000), TEST, SETTINGS) != ""


def test_a_rate_that_is_off_is_a_loss_where_ranks_are_not() -> None:
    off = window(auc=0.85, observed=0.12, predicted=0.07, chance=0.008)

    assert loss(off, TEST, SETTINGS) == "7.0% predicted and 12.0% seen (labels of 50%)"
    assert loss(window(observed=0.12, predicted=0.07, chance=0.03), TEST, SETTINGS) == ""
    assert loss(window(observed=0.08, predicted=0.07, chance=0.001), TEST, SETTINGS) == ""
