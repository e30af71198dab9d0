"""What is filled in must come from training rows, and a saved imputer must do the same."""

from pathlib import Path

import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import DataError
from shared.features.imputation import MissingFlags, ModeImputer, ModelImputer


def test_only_columns_with_gaps_in_training_rows_get_a_flag(spark: SparkSession) -> None:
    train = spark.createDataFrame(
        [(1.0, 2.0, "a"), (None, 3.0, "b"), (float("nan"), 4.0, None)], "x double, y double, t string"
    )

    flags = MissingFlags(["x", "y", "t"]).fit(train)
    later = flags.transform(spark.createDataFrame([(None, None, None)], train.schema)).first()

    assert flags.transform(train).select("x__is_missing", "t__is_missing").collect() == [(0, 0), (1, 0), (1, 1)]
    assert later.asDict() == {"x": None, "y": None, "t": None, "x__is_missing": 1.0, "t__is_missing": 1.0}


def test_a_mode_is_that_of_training_rows_and_ties_take_the_least(spark: SparkSession) -> None:
    train = spark.createDataFrame([("it's", 2), ("b", 1), ("it's", 2), (None, 1)], "t string, n int")

    filled = ModeImputer(["t", "n"]).fit(train).transform(spark.createDataFrame([(None, None), ("c", 9)], train.schema))

    assert [(row["t"], row["n"]) for row in filled.collect()] == [("it's", 1), ("c", 9)]


@pytest.fixture(scope="module")
def ordered(spark: SparkSession) -> DataFrame:
    """y is 10 for x below 50 and 20 above, t likewise low and high; every seventh is missing."""
    rows = spark.range(200).select((F.col("id") % 100).cast("double").alias("x"), (F.col("id") % 7 == 0).alias("gap"))
    return rows.select(
        "x",
        F.when(~F.col("gap"), F.when(F.col("x") < 50, 10).otherwise(20)).alias("y"),
        F.when(~F.col("gap"), F.when(F.col("x") < 50, "low").otherwise("high")).alias("t"),
    )


def test_a_model_fills_numbers_and_texts_from_the_other_columns(ordered: DataFrame, tmp_path: Path) -> None:
    for name, low, high in (("y", 10.0, 20.0), ("t", "low", "high")):
        fitted = ModelImputer(name, ["x"]).fit(ordered)
        fitted.write().overwrite().save(str(tmp_path / name))
        filled = PipelineModel.load(str(tmp_path / name)).transform(ordered)

        assert filled.columns == [*(other for other in ordered.columns if other != name), name]
        wrong = filled.where(~F.col(name).eqNullSafe(F.when(F.col("x") < 50, low).otherwise(high)))
        assert wrong.count() == 0


def test_a_model_leaves_the_values_that_are_there(ordered: DataFrame) -> None:
    odd = ordered.where("x = 1").withColumn("y", F.lit(-3))

    assert {row["y"] for row in ModelImputer("y", ["x"]).fit(ordered).transform(odd).collect()} == {-3.0}


def test_a_column_without_any_value_is_refused(spark: SparkSession) -> None:
    empty = spark.createDataFrame([(1.0, None)], "x double, y double")

    with pytest.raises(DataError, match="IMPUTATION_EMPTY"):
        ModelImputer("y", ["x"]).fit(empty)
    with pytest.raises(DataError, match="IMPUTATION_EMPTY"):
        ModeImputer(["y"]).fit(empty)


@pytest.mark.parametrize("levels", [150, 1_100])
def test_a_text_of_many_levels_is_filled_with_a_frequent_one(spark: SparkSession, levels: int) -> None:
    # Half of the rows are "low" where x is small and "high" elsewhere; every level of the other half is there twice.
    rows = spark.range(4 * levels).selectExpr(
        "CAST(id AS DOUBLE) AS x",
        f"IF(id % 2 = 0, IF(id < {2 * levels}, 'low', 'high'), concat('l', id div 2 % {levels})) AS t",
    )
    gaps = spark.createDataFrame([(0.0, None), (4.0 * levels, None), (1.0, "l1")], "x double, t string")

    filled = ModelImputer("t", ["x"]).fit(rows).transform(gaps)

    assert [row["t"] for row in filled.orderBy("x").collect()] == ["low", "l1", "high"]
