import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shared.core.errors import DataError, ModelError
from shared.evaluation.binary import evaluate
from shared.evaluation.scored import BUCKETS, check, log_odds_bucket, scored, tallies


def test_buckets_never_fall_when_the_probability_rises(spark: SparkSession) -> None:
    bounds = 1 / (1 + np.exp(-np.arange(-600, 600) / 100))
    values = np.concatenate([bounds, np.nextafter(bounds, 0), np.nextafter(bounds, 1), [0.0, 1e-300, 1 - 2**-53, 1.0]])
    rows = spark.createDataFrame([(float(v),) for v in np.unique(values)], "p double")

    found = [row[0] for row in rows.orderBy("p").select(log_odds_bucket(F.col("p"))).collect()]

    assert found == sorted(found)
    assert (found[0], found[-1]) == (0, BUCKETS - 1)
    assert len(set(found)) > 1150  # about one step each hundredth of the log-odds


def test_labels_and_probabilities_of_any_type_are_read_as_numbers(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [(True, "1", 0.9), (False, "0", 0.3), (True, "1", 0.2)], "is_b boolean, s string, p float"
    )

    found = [scored(rows, label, "p").agg(*tallies()).collect()[0] for label in ("is_b", "s")]

    assert [(row["positives"], row["problem_rows"]) for row in found] == [(2, 0), (2, 0)]
    assert found[0]["expected"] == pytest.approx(1.4, abs=1e-6)


def test_a_refusal_says_the_column_the_value_and_how_many(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("Yes", 0.5), ("1", 0.2), ("Yes", 0.1)], "churned string, p double")

    with pytest.raises(DataError) as refused:
        evaluate(rows, label="churned", probability="p")

    assert str(refused.value) == (
        "[LABEL_NOT_BINARY] 'churned' is Yes in 2 of 3 rows. 0 or 1. Map the label to 0 and 1."
    )


def test_of_several_problems_the_label_comes_first(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(None, 2.0), (1, float("nan")), (0, 0.5)], "label int, p double")

    with pytest.raises(DataError, match=r"LABEL_NULL\] 'label' is null in 1 of 3 rows"):
        check(scored(rows, "label", "p"), "label", "p")
    with pytest.raises(ModelError, match=r"PROBABILITY_INVALID\] 'p' is NaN in 1 of 2 rows"):
        check(scored(rows.where("label IS NOT NULL"), "label", "p"), "label", "p")


def test_any_number_that_is_no_probability_is_refused_and_does_not_overflow(spark: SparkSession) -> None:
    for p in (-1e300, 1e300, float("inf"), -1e-9):
        rows = spark.createDataFrame([(1, p), (0, 0.5)], "label int, p double")
        with pytest.raises(ModelError, match="PROBABILITY_INVALID"):
            evaluate(rows, label="label", probability="p")
