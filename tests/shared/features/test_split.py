"""A split must depend on nothing but the row, and must keep apart what it promises to keep apart."""

from collections import Counter
from datetime import date, datetime, timedelta

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ConfigError
from shared.features.split import by_group, by_hash, by_time, folds

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
CUTS = {"validation": date(2024, 3, 1), "test": date(2024, 4, 1)}


def parts_by_id(rows: DataFrame, seed: int = 3) -> dict[int, str]:
    return {int(row["id"]): row["split"] for row in by_hash(rows, "id", SHARES, seed=seed).collect()}


def test_a_hash_split_ignores_order_partitions_and_other_rows_and_reads_ids_as_text(spark: SparkSession) -> None:
    whole, few = parts_by_id(spark.range(400)), spark.range(100).repartition(7)

    assert parts_by_id(few) == {number: whole[number] for number in range(100)}
    assert parts_by_id(few.selectExpr("string(id)")) == parts_by_id(few)
    assert parts_by_id(few, seed=4) != parts_by_id(few)


def test_the_parts_of_a_hash_split_have_the_shares_asked_for(spark: SparkSession) -> None:
    split = by_hash(spark.range(20_000), "id", SHARES, seed=1)
    counts = {row["split"]: row["count"] for row in split.groupBy("split").count().collect()}

    assert counts.keys() == SHARES.keys()
    for part, share in SHARES.items():
        assert abs(counts[part] - 20_000 * share) < 4 * (20_000 * share * (1 - share)) ** 0.5, (
            part
        )  # 4 standard deviations


def test_a_group_is_never_torn_apart(spark: SparkSession) -> None:
    rows = spark.range(600).select((F.col("id") % 40).alias("household"), "id")

    parts = by_group(rows, "household", SHARES, seed=0).groupBy("household").agg(F.count_distinct("split").alias("n"))

    assert parts.where("n > 1").count() == 0


@pytest.mark.parametrize("shares", [{"a": 0.5, "b": 0.4}, {"a": 1.5, "b": -0.5}, {}])
def test_shares_that_do_not_divide_the_rows_are_refused(spark: SparkSession, shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="SHARES_INVALID"):
        by_hash(spark.range(1), "id", shares, seed=0)


def test_a_time_split_leaves_out_exactly_the_days_of_the_gap_before_each_cut(spark: SparkSession) -> None:
    moments = [
        (datetime(2024, 2, 22, 23, 59), "train"),
        (datetime(2024, 2, 23), "gap"),
        (datetime(2024, 2, 29, 23, 59), "gap"),
        (datetime(2024, 3, 1), "validation"),
        (datetime(2024, 3, 24, 23, 59), "validation"),
        (datetime(2024, 3, 25), "gap"),
        (datetime(2024, 4, 1), "test"),
        (datetime(2030, 1, 1), "test"),
        (None, None),
    ]
    expected = spark.createDataFrame(moments, "event_ts timestamp, split string")

    found = by_time(expected.select("event_ts"), "event_ts", CUTS, gap_days=7)

    assert_df_equality(found, expected)
    assert by_time(expected.select("event_ts"), "event_ts", CUTS).where("split = 'gap'").isEmpty()


def test_a_gap_that_reaches_over_a_whole_part_does_not_hand_its_rows_to_the_part_before(spark: SparkSession) -> None:
    days = spark.createDataFrame([(date(2024, 1, 1) + timedelta(days=30 * month),) for month in range(5)], "day date")

    found = by_time(days, "day", CUTS, gap_days=45)

    assert [row["split"] for row in found.orderBy("day").collect()] == ["train", "gap", "gap", "gap", "test"]


@pytest.mark.parametrize(
    ("cuts", "gap_days"),
    [
        ({}, 0),
        ({"test": date(2024, 2, 1), "validation": date(2024, 1, 1)}, 0),
        ({"train": date(2024, 1, 1)}, 0),
        (CUTS, -1),
    ],
)
def test_cuts_that_make_no_split_are_refused(spark: SparkSession, cuts: dict[str, date], gap_days: int) -> None:
    days = spark.createDataFrame([(date(2024, 1, 1),)], "day date")
    with pytest.raises(ConfigError, match="CUTS_INVALID"):
        by_time(days, "day", cuts, gap_days=gap_days)


def test_stratified_folds_are_balanced_to_one_row_in_every_class_and_the_same_on_every_run(spark: SparkSession) -> None:
    labelled = spark.range(103).select("id", (F.col("id") % 4 == 0).cast("int").alias("label"))

    def fold_of(rows: DataFrame, seed: int) -> dict[tuple[int, int], int]:
        return {(r["id"], r["label"]): r["fold"] for r in folds(rows, "id", 5, seed=seed, stratify="label").collect()}

    found = fold_of(labelled, seed=11)

    sizes = Counter((label, fold) for (_, label), fold in found.items())
    assert sorted(sizes.values()) == [5, 5, 5, 5, 6, 15, 15, 15, 16, 16]  # 26 and 77 rows
    assert fold_of(labelled.repartition(6), seed=11) == found
    other = fold_of(labelled, seed=12)
    assert sum(found[row] == other[row] for row in found) < 60


def test_folds_keep_a_customer_together_even_when_its_label_changes(spark: SparkSession) -> None:
    rows = spark.range(90).select(
        (F.col("id") % 30).alias("customer_id"), (F.col("id") % 7 == 0).cast("int").alias("label")
    )

    for stratify in ("label", None):
        found = folds(rows, "customer_id", 3, seed=2, stratify=stratify)
        assert found.columns == ["customer_id", "label", "fold"]
        torn = found.groupBy("customer_id").agg(F.count_distinct("fold").alias("n")).where("n > 1")
        assert torn.count() == 0, stratify
        assert {row["fold"] for row in found.select("fold").distinct().collect()} == {0, 1, 2}


def test_one_fold_is_refused(spark: SparkSession) -> None:
    with pytest.raises(ConfigError, match="FOLDS_INVALID"):
        folds(spark.range(3), "id", 1, seed=0)
