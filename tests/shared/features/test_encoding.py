"""An encoding by the label must never know the label of the row it encodes."""

from pathlib import Path

import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ConfigError
from shared.features.encoding import TargetEncoding, indexer, one_hot, out_of_fold


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    levels = F.when(F.col("id") % 11 == 0, None).otherwise(F.concat(F.lit("l"), (F.col("id") % 5).cast("string")))
    is_positive = (F.xxhash64("id") % 10 < F.col("id") % 5).cast("int")
    return spark.range(300).select("id", levels.alias("level"), is_positive.alias("y"), (F.col("id") % 3).alias("fold"))


def test_each_level_has_a_column_and_null_and_unseen_share_the_last(spark: SparkSession) -> None:
    train = spark.createDataFrame([("b",), ("b",), ("a",), (None,)], "level string")
    later = spark.createDataFrame([("a",), ("b",), (None,), ("new",)], "level string")
    model = Pipeline(stages=[indexer(["level"], ["place"]), one_hot(["place"], ["is"])]).fit(train)

    vectors = [row["is"].toArray().tolist() for row in model.transform(later).collect()]

    assert vectors == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]]


def test_a_saved_encoding_knows_unseen_levels_when_no_training_row_was_null(
    spark: SparkSession, tmp_path: Path
) -> None:
    train = spark.createDataFrame([("b",), ("b",), ("a",)], "level string")
    model = Pipeline(stages=[indexer(["level"], ["place"]), one_hot(["place"], ["is"])]).fit(train)
    model.write().save(str(tmp_path / "model"))

    later = PipelineModel.load(str(tmp_path / "model")).transform(
        spark.createDataFrame([("b",), ("new",), (None,)], "level string")
    )

    assert [row["is"].toArray().tolist() for row in later.collect()] == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]


def test_a_level_is_encoded_as_its_rate_drawn_to_the_overall_rate(spark: SparkSession) -> None:
    train = spark.createDataFrame([("a", 1), ("a", 1), ("a", 0), ("b", 0), (None, 0)], "level string, y int")
    others = spark.createDataFrame([("a",), ("b",), (None,), ("new",)], "level string")

    encoded = TargetEncoding(["level"], "y", smoothing=2).fit(train).transform(others).collect()

    expected = [(2 + 2 * 0.4) / 5, 0.8 / 3, 0.8 / 3, 0.8 / 3]
    assert [row["level__target"] for row in encoded] == pytest.approx(expected, abs=1e-12)
    assert encoded[0].asDict().keys() == {"level", "level__target"}


def test_an_unseen_level_gets_the_overall_rate_when_no_training_row_is_null(spark: SparkSession) -> None:
    train = spark.createDataFrame([("a", 1), ("b", 0), ("b", 0), ("b", 0)], "level string, y int")
    others = spark.createDataFrame([("new",), (None,)], "level string")

    encoded = TargetEncoding(["level"], "y").fit(train).transform(others).collect()

    assert [row["level__target"] for row in encoded] == [0.25, 0.25]


def test_out_of_fold_is_what_an_encoder_fitted_on_the_other_folds_gives(rows: DataFrame) -> None:
    found = {row["id"]: row["level__target"] for row in out_of_fold(rows, ["level"], label="y", fold="fold").collect()}

    for fold in range(3):
        encoder = TargetEncoding(["level"], "y").fit(rows.where(F.col("fold") != fold))
        expected = encoder.transform(rows.where(F.col("fold") == fold)).collect()
        assert [found[row["id"]] for row in expected] == pytest.approx([row["level__target"] for row in expected])


def test_no_table_is_sent_to_every_task_and_no_task_gets_every_level(
    rows: DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    out_of_fold(rows, ["level"], label="y", fold="fold").explain("extended")

    plans = capsys.readouterr().out
    assert "strategy=broadcast" not in plans
    assert "windowspecdefinition(0," not in plans
    assert "windowspecdefinition(_level" in plans


def test_labels_of_a_fold_do_not_change_the_encoding_of_its_rows(rows: DataFrame) -> None:
    def of_first_fold(labelled: DataFrame) -> list[float]:
        encoded = out_of_fold(labelled, ["level"], label="y", fold="fold").where("fold = 0").orderBy("id")
        return [row["level__target"] for row in encoded.collect()]

    flipped = rows.withColumn("y", F.when(F.col("fold") == 0, 1 - F.col("y")).otherwise(F.col("y")))

    assert of_first_fold(flipped) == of_first_fold(rows)


def test_an_id_is_encoded_as_the_overall_rate_of_the_other_folds(spark: SparkSession) -> None:
    ids = spark.range(30).select(F.col("id").cast("string"), (F.col("id") % 2).alias("y"), (F.col("id") % 3).alias("f"))

    values = {row["id__target"] for row in out_of_fold(ids, ["id"], label="y", fold="f", smoothing=0).collect()}

    assert values == {0.5}


def test_rows_without_a_label_teach_nothing_and_are_encoded(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a", 1, 0), ("a", None, 1), ("b", 0, 1)], "level string, y int, fold int")

    found = {
        (row["level"], row["fold"]): row["level__target"]
        for row in out_of_fold(rows, ["level"], label="y", fold="fold", smoothing=0).collect()
    }

    assert found == {("a", 0): 0.0, ("a", 1): 1.0, ("b", 1): 1.0}


def test_negative_smoothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="SMOOTHING_INVALID"):
        TargetEncoding(["level"], "y", smoothing=-1)
