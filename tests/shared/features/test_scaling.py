"""Scales are those of the training rows."""

from typing import Any

import pytest
from pyspark.sql import SparkSession

from shared.features.scaling import Method, scaler

TRAIN = [(0.0, 5.0), (1.0, 5.0), (2.0, 5.0), (9.0, 5.0)]


@pytest.mark.parametrize(
    ("method", "expected"),
    [("standard", (3 - 3) / 4.0824829), ("robust", (3 - 1) / 2), ("minmax", 3 / 9), ("maxabs", 3 / 9)],
)
def test_a_later_row_is_scaled_by_the_training_rows(spark: SparkSession, method: Method, expected: float) -> None:
    train = spark.createDataFrame([(*values, 0.0) for values in TRAIN], "x double, constant double, zero double")

    row: Any = (
        scaler(["x", "constant", "zero"], "v", method)
        .fit(train)
        .transform(train.limit(1).selectExpr("3.0D x", "constant", "zero"))
        .first()
    )

    assert row["v"][0] == pytest.approx(expected, abs=1e-7)
    assert row["v"][1:].tolist() == {"minmax": [0.5, 0.5], "maxabs": [1.0, 0.0]}.get(method, [0.0, 0.0])
