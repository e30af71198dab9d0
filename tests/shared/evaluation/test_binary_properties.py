"""Properties over hard inputs: ties, neighbouring numbers, rare events; scikit-learn is the oracle."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from sklearn import metrics

from shared.core.errors import DataError
from shared.evaluation.binary import by_slice, constant, evaluate, points

NAMES = {"label": "label", "probability": "p"}


def table(spark: SparkSession, y: Sequence[int], p: Sequence[float]) -> DataFrame:
    return spark.createDataFrame(list(zip(y, p, strict=True)), "label int, p double").coalesce(2)


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


@pytest.mark.parametrize("shape", SHAPES)
def test_metrics_equal_scikit_learn(spark: SparkSession, shape: str) -> None:
    draw = random.Random(shape)
    p = [SHAPES[shape](draw) for _ in range(150)]
    y = [int(draw.random() < 0.3) for _ in p]

    found = evaluate(table(spark, y, p), **NAMES)

    assert found.auc == pytest.approx(metrics.roc_auc_score(y, p), abs=1e-9)
    assert found.pr_auc == pytest.approx(metrics.average_precision_score(y, p), abs=1e-9)
    assert found.log_loss == pytest.approx(metrics.log_loss(y, p), abs=1e-9)
    assert found.brier == pytest.approx(metrics.brier_score_loss(y, p), abs=1e-9)
    assert found.positive_rate == pytest.approx(np.mean(y), abs=1e-12)
    assert (found.rows, found.positives) == (150, sum(y))


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
