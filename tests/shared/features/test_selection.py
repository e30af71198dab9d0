"""What is dropped must be said to be dropped for the right reason, and what helps must stay."""

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.features.selection import above_noise, associated, noise, uncorrelated, varying, worded


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """y follows x and level; u and coin are drawn apart from it."""
    uniform = [F.shiftrightunsigned(F.xxhash64("id", F.lit(k)), 11) * F.lit(2.0**-53) for k in range(4)]
    drawn = spark.range(1_500).select("id", *(value.alias(f"u{k}") for k, value in enumerate(uniform)))
    return drawn.select(
        "id",
        F.col("u0").alias("x"),
        (F.col("u0") * 3 + 1).alias("copy"),
        F.when(F.col("u1") > 0.1, F.col("u1")).alias("u"),
        F.when(F.col("u3") < 0.5, "heads").otherwise("tails").alias("coin"),
        F.when(F.col("u2") + F.col("u0") / 2 < 0.75, "low").otherwise("high").alias("level"),
        (F.col("u2") + F.col("u0") > 1).cast("int").alias("y"),
    ).cache()


def test_features_that_do_not_vary_are_dropped_each_with_its_reason(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [(None, 3.0, 3.0, 1.0, "a", True), (None, 3.0, None, 1.001, "b", True), (None, 3.0, 3.0, 1.0, "c", False)],
        "empty double, constant double, gaps double, still double, many string, flag boolean",
    )

    selection = varying(rows, rows.columns, min_variance=0.01, max_levels=2)

    assert selection.kept == ("flag",)
    assert selection.dropped["gaps"] == "variance 0, at most 0.01"
    assert selection.dropped["empty"] == "no value in any training row"
    assert selection.dropped["constant"] == "the same value in every training row"
    assert selection.dropped["still"] == "variance 3.33e-07, at most 0.01"
    assert selection.dropped["many"] == "more than 2 levels"


def test_dates_and_moments_vary_or_do_not_and_have_no_variance(spark: SparkSession) -> None:
    rows = spark.sql("SELECT DATE'2024-01-01' + CAST(id AS INT) AS day, timestamp_seconds(0) AS moment FROM range(3)")

    selection = varying(rows, ["day", "moment"], min_variance=0.01)

    assert selection.kept == ("day",)
    assert selection.dropped == {"moment": "the same value in every training row"}


def test_without_a_least_variance_a_value_with_gaps_stays(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(3.0,), (None,)], "gaps double")

    assert varying(rows, ["gaps"]).kept == ("gaps",)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_of_two_features_that_go_together_the_later_is_dropped_with_the_name_of_the_other(
    rows: DataFrame, method: str
) -> None:
    selection = uncorrelated(rows, ["x", "u", "copy"], max_correlation=0.99, method=method)  # type: ignore[arg-type]

    assert selection.kept == ("x", "u")
    assert selection.dropped == {"copy": f"{method} correlation 1.0000 with x"}
    assert uncorrelated(rows, ["copy", "x"], max_correlation=0.99).dropped.keys() == {"x"}


def test_a_constant_goes_with_nothing(rows: DataFrame) -> None:
    assert uncorrelated(rows.withColumn("c", F.lit(1.0)), ["x", "c", "u"]).dropped == {}


def test_single_tests_keep_what_is_linked_to_the_label(rows: DataFrame) -> None:
    selection = associated(rows, numeric=["x", "u"], categorical=["coin", "level"], label="y")

    assert selection.kept == ("x", "level")
    assert "ANOVA" in selection.dropped["u"]
    assert "chi-square" in selection.dropped["coin"]


def test_a_forest_keeps_what_it_uses_more_than_noise(rows: DataFrame) -> None:
    names = {"numeric": ["x", "u"], "categorical": ["coin", "level"]}
    chosen = [above_noise(rows, **names, label="y", key="id", seed=1) for _ in "ab"]

    assert set(chosen[0].kept) >= {"x", "level"}
    assert "coin" in chosen[0].dropped
    assert "noise has" in chosen[0].dropped["coin"]
    assert chosen[0] == chosen[1]


def test_the_one_feature_that_the_label_follows_is_kept(spark: SparkSession) -> None:
    plans = spark.range(200).selectExpr("id", "IF(id % 2 = 0, 'a', 'b') AS plan", "id % 2 AS y")

    for seed in range(4):
        chosen = above_noise(plans, numeric=[], categorical=["plan"], label="y", key="id", seed=seed, trees=10)
        assert chosen.kept == ("plan",)


def test_noise_differs_between_rows_and_columns_and_does_not_depend_on_how_the_rows_lie(spark: SparkSession) -> None:
    ids = spark.range(500).select("id", F.lit("same").alias("day"))

    def drawn(rows: DataFrame) -> list[tuple[object, ...]]:
        return [tuple(row) for row in rows.withColumns(noise(["id", "day"], seed=1, columns=3)).orderBy("id").collect()]

    found = drawn(ids.coalesce(1))

    assert found == drawn(ids.repartition(3))
    assert len({value for row in found for value in row[2:]}) == 1_500
    assert [sum(column) / 500 for column in list(zip(*found, strict=True))[2:]] == pytest.approx([0.5] * 3, abs=0.05)


def test_nothing_to_select_from_is_nothing_selected(rows: DataFrame) -> None:
    assert varying(rows, []).kept == ()
    assert uncorrelated(rows, ["x"]).kept == ("x",)
    assert above_noise(rows, numeric=[], categorical=[], label="y", key="id", seed=0).kept == ()


def test_a_text_without_a_word_in_enough_rows_is_dropped(spark: SparkSession) -> None:
    texts = [(["a", "a"], ["x"], []), (["a"], ["y"], []), ([], ["x"], [])]
    rows = spark.createDataFrame(texts, "often array<string>, seldom array<string>, never array<string>")

    selection = worded(rows, rows.columns, min_rows=2)
    assert selection.kept == ("often", "seldom")
    assert set(worded(rows, rows.columns, min_rows=3).dropped) == {"often", "seldom", "never"}
    assert selection.dropped == {"never": "no word in 2 training rows"}
