"""Properties over hard inputs: ties, neighbouring numbers, rare events, weights; scikit-learn is the oracle."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from sklearn import metrics

from shared.core.errors import DataError
from shared.evaluation.binary import by_slice, constant, evaluate, points

NAMES = {"label": "label", "probability": "p"}


def table(spark: SparkSession, y: Sequence[int], p: Sequence[float], w: Sequence[float] | None = None) -> DataFrame:
    rows = list(zip(y, p, w or [1.0] * len(y), strict=True))
    return spark.createDataFrame(rows, "label int, p double, weight double").coalesce(2)


def neighbours(draw: random.Random) -> float:
    """A double and the two beside it: a bucket bound that is not monotone would swap them."""
    middle = 1 / (1 + np.exp(-draw.randrange(-5, 5) / 100))
    return float(draw.choice([np.nextafter(middle, 0), middle, np.nextafter(middle, 1)]))


SHAPES = {
    "four values": lambda draw: draw.choice([0.0, 0.25, 0.5, 1.0]),
    "neighbouring doubles": neighbours,
    "rare events": lambda draw: 10 ** draw.uniform(-15, -3),
    "nearly certain": lambda draw: 1 - 10 ** draw.uniform(-15, -3),
    "one value": lambda draw: 0.3,
}


@pytest.mark.parametrize(
    ("shape", "is_weighted"), [*((shape, False) for shape in SHAPES), ("four values", True), ("rare events", True)]
)
def test_metrics_equal_scikit_learn(spark: SparkSession, shape: str, is_weighted: bool) -> None:
    draw = random.Random(shape)
    p = [SHAPES[shape](draw) for _ in range(150)]
    y = [int(draw.random() < 0.3) for _ in p]
    w = [draw.choice([0.0, 0.5, 1.0, 3.7]) for _ in p] if is_weighted else None

    found = evaluate(table(spark, y, p, w), **NAMES, weight="weight" if is_weighted else None)

    assert found.auc == pytest.approx(metrics.roc_auc_score(y, p, sample_weight=w), abs=1e-9)
    assert found.pr_auc == pytest.approx(metrics.average_precision_score(y, p, sample_weight=w), abs=1e-9)
    assert found.log_loss == pytest.approx(metrics.log_loss(y, p, sample_weight=w), abs=1e-9)
    assert found.brier == pytest.approx(metrics.brier_score_loss(y, p, sample_weight=w), abs=1e-9)
    assert found.positive_rate == pytest.approx(np.average(y, weights=w), abs=1e-12)
    assert (found.rows, found.positives) == (150, sum(y))


def test_a_weight_of_two_is_a_row_that_is_there_twice(spark: SparkSession) -> None:
    draw = random.Random(3)
    p = [round(draw.random(), 2) for _ in range(100)]
    y = [int(draw.random() < value) for value in p]
    w = [1 + i % 3 for i in range(99)] + [2]  # 200 in all, so that a tenth is a whole number
    again = [i for i, times in enumerate(w) for _ in range(times)]

    weighted = evaluate(table(spark, y, p, [float(v) for v in w]), **NAMES, weight="weight").as_dict()
    repeated = evaluate(table(spark, [y[i] for i in again], [p[i] for i in again]), **NAMES).as_dict()

    counts = {"rows", "positives"}
    assert {k: v for k, v in weighted.items() if k not in counts} == pytest.approx(
        {k: v for k, v in repeated.items() if k not in counts}, abs=1e-12
    )
    assert (weighted["rows"], repeated["rows"]) == (100, 200)


def test_calibration_error_by_mass_cuts_the_rows_into_tenths(spark: SparkSession) -> None:
    draw = random.Random(4)
    p = sorted((draw.random() ** 3 for _ in range(200)), reverse=True)
    y = [int(draw.random() < value) for value in p]
    tenths = zip(np.split(np.array(y), 10), np.split(np.array(p), 10), strict=True)

    found = evaluate(table(spark, y, p), **NAMES, ece_bins="mass")

    assert found.ece == pytest.approx(sum(abs(a.sum() - b.sum()) for a, b in tenths) / 200, abs=1e-12)
    assert found.ece != pytest.approx(evaluate(table(spark, y, p), **NAMES).ece, abs=1e-4)


def test_the_baseline_equals_the_evaluation_of_a_constant_column(spark: SparkSession) -> None:
    draw = random.Random(5)
    y = [int(draw.random() < 0.2) for _ in range(97)]

    measured = evaluate(table(spark, y, [0.25] * 97), **NAMES)

    model = evaluate(table(spark, y, [draw.random() for _ in y]), **NAMES)
    assert constant(0.25, model).as_dict() == pytest.approx(measured.as_dict(), abs=1e-12)


@pytest.mark.parametrize("weight", [None, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_amount_is_refused(spark: SparkSession, weight: float | None) -> None:
    rows = table(spark, [0, 1, 1], [0.2, 0.7, 0.6], [1.0, 1.0, weight])  # type: ignore[list-item]

    with pytest.raises(DataError, match=r"WEIGHT_INVALID.*in 1 of 3 rows"):
        evaluate(rows, **NAMES, weight="weight")


def test_a_class_whose_weights_are_all_zero_is_not_there(spark: SparkSession) -> None:
    with pytest.raises(DataError, match="LABEL_ONE_CLASS"):
        evaluate(table(spark, [0, 1], [0.2, 0.7], [1.0, 0.0]), **NAMES, weight="weight")


def test_thinned_points_keep_the_area_under_the_curve(spark: SparkSession) -> None:
    draw = random.Random(6)
    p = [draw.random() for _ in range(3000)]
    y = [int(draw.random() < value) for value in p]

    found = points(table(spark, y, p), **NAMES, count=100)

    assert len(found) == 100
    recall = [0.0, *(point.true_positives / sum(y) for point in found)]
    fallout = [0.0, *(point.false_positives / (3000 - sum(y)) for point in found)]
    assert np.trapezoid(recall, fallout) == pytest.approx(metrics.roc_auc_score(y, p), abs=5e-4)


def test_a_bad_row_in_a_slice_beyond_the_limit_is_still_refused(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [(1, 0.6, "large"), (0, 0.4, "large"), (0, 0.3, "large"), (None, 0.5, "small")],
        "label int, p double, part string",
    )

    with pytest.raises(DataError, match=r"LABEL_NULL.* in 1 of 4 rows"):
        by_slice(rows, "part", **NAMES, limit=1)
    [large] = by_slice(rows.where("label IS NOT NULL"), "part", **NAMES, limit=1)
    assert large == {"slice": "large", "rows": 3, "observed": 1 / 3, "predicted": pytest.approx(1.3 / 3), "auc": 1.0}
