"""Equal to scikit-learn to 1e-9, with and without ties."""

import random

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from sklearn import metrics

from shared.core.errors import DataError, ModelError
from shared.evaluation import bootstrap, calibration, thresholds
from shared.evaluation.binary import by_slice, constant, evaluate, points

SCHEMA = "customer_id string, label int, p double, part string"


def predictions(
    spark: SparkSession, count: int, decimals: int, seed: int = 0
) -> tuple[DataFrame, list[int], list[float]]:
    draw = random.Random(seed)
    p = [round(draw.random(), decimals) for _ in range(count)]
    y = [int(draw.random() < value) for value in p]
    rows = [(f"C{i % 40}", y[i], p[i], "a" if i % 3 else None) for i in range(count)]
    return spark.createDataFrame(rows, SCHEMA).coalesce(2), y, p


@pytest.mark.parametrize("decimals", [1, 2, 15])
def test_metrics_equal_scikit_learn_with_many_few_and_no_ties(spark: SparkSession, decimals: int) -> None:
    rows, y, p = predictions(spark, 237, decimals)

    found = evaluate(rows, label="label", probability="p")

    assert found.auc == pytest.approx(metrics.roc_auc_score(y, p), abs=1e-9)
    assert found.pr_auc == pytest.approx(metrics.average_precision_score(y, p), abs=1e-9)
    assert found.log_loss == pytest.approx(metrics.log_loss(y, p), abs=1e-9)
    assert found.brier == pytest.approx(metrics.brier_score_loss(y, p), abs=1e-9)
    assert (found.rows, found.positives) == (237, sum(y))


def test_probabilities_of_zero_and_one_are_clipped_as_scikit_learn_does(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a", 1, 0.0, ""), ("b", 0, 1.0, ""), ("c", 1, 1.0, ""), ("d", 0, 0.0, "")], SCHEMA)

    found = evaluate(rows, label="label", probability="p")

    assert found.log_loss == pytest.approx(metrics.log_loss([1, 0, 1, 0], [0.0, 1.0, 1.0, 0.0]), abs=1e-9)
    assert found.auc == 0.5


def test_calibration_error_is_the_weighted_gap_of_ten_bins(spark: SparkSession) -> None:
    rows, y, p = predictions(spark, 237, 15)
    bins = np.minimum((np.array(p) * 10).astype(int), 9)
    expected = sum(abs(np.array(y)[bins == b].sum() - np.array(p)[bins == b].sum()) for b in range(10)) / len(p)

    assert evaluate(rows, label="label", probability="p").ece == pytest.approx(expected, abs=1e-9)


def test_lift_counts_the_expected_share_of_a_tie_at_the_cut(spark: SparkSession) -> None:
    # Ten percent of 20 rows are two: the best row, and one of three that tie, of which one is a churner.
    scores = [0.9, 0.8, 0.8, 0.8] + [0.1] * 16
    labels = [1, 1, 0, 0] + [0] * 16
    rows = spark.createDataFrame(
        [(str(i), label, p, "") for i, (label, p) in enumerate(zip(labels, scores, strict=True))], SCHEMA
    )

    assert evaluate(rows, label="label", probability="p").lift_at_10pct == pytest.approx((1 + 1 / 3) / 2 / (2 / 20))


def test_the_baseline_is_what_a_constant_scores(spark: SparkSession) -> None:
    rows, y, _ = predictions(spark, 237, 15)
    found = constant(0.3, evaluate(rows, label="label", probability="p"))

    assert found.auc == 0.5
    assert found.log_loss == pytest.approx(metrics.log_loss(y, [0.3] * len(y)), abs=1e-9)
    assert found.brier == pytest.approx(metrics.brier_score_loss(y, [0.3] * len(y)), abs=1e-9)


@pytest.mark.parametrize(
    ("row", "error", "code"),
    [
        (("c", None, 0.5, ""), DataError, "LABEL_NULL"),
        (("c", 2, 0.5, ""), DataError, "LABEL_NOT_BINARY"),
        (("c", 1, None, ""), ModelError, "PROBABILITY_INVALID"),
        (("c", 1, float("nan"), ""), ModelError, "PROBABILITY_INVALID"),
        (("c", 1, 1.5, ""), ModelError, "PROBABILITY_INVALID"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(spark: SparkSession, row: tuple, error: type, code: str) -> None:
    rows = spark.createDataFrame([("a", 1, 0.5, ""), ("b", 0, 0.5, ""), row], SCHEMA)

    with pytest.raises(error, match=code):
        evaluate(rows, label="label", probability="p")


def test_one_class_and_no_rows_are_refused(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a", 1, 0.5, ""), ("b", 1, 0.4, "")], SCHEMA)

    with pytest.raises(DataError, match="LABEL_ONE_CLASS"):
        evaluate(rows, label="label", probability="p")
    with pytest.raises(DataError, match="EVALUATION_EMPTY"):
        evaluate(rows.limit(0), label="label", probability="p")


def test_points_lie_on_the_curve_and_end_with_every_row(spark: SparkSession) -> None:
    rows, y, p = predictions(spark, 237, 2)

    found = points(rows, label="label", probability="p", count=20)

    for point in found:
        selected = [label for label, score in zip(y, p, strict=True) if score >= point.threshold]
        assert (point.true_positives, point.false_positives) == (sum(selected), len(selected) - sum(selected))
    assert found[-1].true_positives + found[-1].false_positives == 237
    assert len(found) <= 21


def test_slices_have_their_own_rates_and_auc_and_null_is_one_of_them(spark: SparkSession) -> None:
    rows, y, p = predictions(spark, 237, 2)

    found = {part["slice"]: part for part in by_slice(rows, "part", label="label", probability="p")}

    inside = [i for i in range(237) if i % 3]
    expected = metrics.roc_auc_score([y[i] for i in inside], [p[i] for i in inside])
    assert found["a"]["auc"] == pytest.approx(expected, abs=1e-9)
    assert found["a"]["rows"] == len(inside)
    assert found["(none)"]["observed"] == pytest.approx(np.mean([y[i] for i in range(237) if i % 3 == 0]))


def test_a_slice_with_one_class_has_no_auc(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a", 1, 0.5, "x"), ("b", 0, 0.4, "y")], SCHEMA)

    assert {part["auc"] for part in by_slice(rows, "part", label="label", probability="p")} == {None}


def test_platt_scaling_finds_the_distortion_and_keeps_ranks(spark: SparkSession) -> None:
    rows, _, _ = predictions(spark, 4000, 15)
    distorted = rows.selectExpr("customer_id", "label", "1 / (1 + exp(-(2.0 * ln(p / (1 - p)) - 1.0))) AS p", "part")

    scaled = calibration.PlattScaling("p", "label").fit(distorted).transform(distorted)

    before, after = (evaluate(r, label="label", probability="p") for r in (distorted, scaled))
    assert after.auc == pytest.approx(before.auc, abs=1e-9)
    assert after.ece < 0.5 * before.ece
    assert set(scaled.columns) == set(distorted.columns)


def test_the_calibration_curve_has_groups_of_equal_size(spark: SparkSession) -> None:
    rows, y, _ = predictions(spark, 200, 15)

    bins = calibration.curve(rows, label="label", probability="p", bins=4)

    assert [b.rows for b in bins] == [50, 50, 50, 50]
    assert sum(b.observed * b.rows for b in bins) == pytest.approx(sum(y))
    assert [b.predicted for b in bins] == sorted(b.predicted for b in bins)


def test_the_confusion_counts_the_threshold_itself_as_selected(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a", 1, 0.5, ""), ("b", 0, 0.5, ""), ("c", 1, 0.4, ""), ("d", 0, 0.1, "")], SCHEMA)

    found = thresholds.confusion(rows, 0.5, label="label", probability="p")

    assert (found.true_positives, found.false_positives, found.false_negatives, found.true_negatives) == (1, 1, 1, 1)
    assert (found.precision, found.recall) == (0.5, 0.5)


def test_intervals_agree_with_a_bootstrap_by_hand_and_repeat(spark: SparkSession) -> None:
    rows, y, p = predictions(spark, 400, 15)
    options = {"unit": "customer_id", "label": "label", "probability": "p", "replicates": 300}

    found = bootstrap.intervals(rows, **options, seed=1)

    draw = np.random.default_rng(0)
    unit, labels, scores = np.arange(400) % 40, np.array(y), np.array(p)
    replicates = []
    for _ in range(300):
        taken = np.concatenate([np.flatnonzero(unit == u) for u in draw.integers(0, 40, 40)])
        replicates.append(metrics.roc_auc_score(labels[taken], scores[taken]))
    low, high = np.percentile(replicates, [2.5, 97.5])
    assert found["auc"][0] == pytest.approx(low, abs=0.015)
    assert found["auc"][1] == pytest.approx(high, abs=0.015)
    assert bootstrap.intervals(rows, **options, seed=1) == found
    assert bootstrap.intervals(rows, **options, seed=2) != found
