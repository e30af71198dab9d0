"""A split must depend on nothing but the row, and must keep apart what it promises to keep apart."""

from collections import Counter
from datetime import date, datetime, timedelta

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ConfigError
from shared.features.split import by_group, by_hash, by_time, folds, part_counts

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
CUTS = {"validation": date(2024, 3, 1), "test": date(2024, 4, 1)}


def test_a_hash_split_ignores_order_partitions_and_other_rows_and_reads_ids_as_text(spark: SparkSession) -> None:
    rows = spark.range(400).withColumnRenamed("id", "customer_id")
    whole = by_hash(rows, "customer_id", SHARES, seed=3).where("customer_id < 100")
    part = by_hash(
        rows.where("customer_id < 100").orderBy(F.desc("customer_id")).repartition(7), "customer_id", SHARES, seed=3
    )
    as_text = by_hash(rows.where("customer_id < 100").selectExpr("string(customer_id)"), "customer_id", SHARES, seed=3)

    assert_df_equality(whole, part, ignore_row_order=True)
    assert_df_equality(
        whole, as_text.selectExpr("bigint(customer_id)", "split"), ignore_row_order=True, ignore_nullable=True
    )
    assert part_counts(by_hash(rows, "customer_id", SHARES, seed=4)) != part_counts(
        by_hash(rows, "customer_id", SHARES, seed=3)
    )


def test_the_parts_of_a_hash_split_have_the_shares_asked_for(spark: SparkSession) -> None:
    counts = part_counts(by_hash(spark.range(20_000), "id", SHARES, seed=1))

    assert list(counts) == ["test", "train", "validation"]
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
    assert part_counts(found) == {"null": 1, "gap": 3, "test": 2, "train": 1, "validation": 2}
    assert part_counts(by_time(expected.select("event_ts"), "event_ts", CUTS)).get("gap") is None


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

    found = folds(labelled, "id", 5, seed=11, stratify="label")
    again = folds(labelled.repartition(6).orderBy(F.desc("id")), "id", 5, seed=11, stratify="label")
    other = folds(labelled, "id", 5, seed=12, stratify="label")

    sizes = Counter((row["label"], row["fold"]) for row in found.collect())
    assert sorted(sizes.values()) == [5, 5, 5, 5, 6, 15, 15, 15, 16, 16]  # 26 and 77 rows
    assert_df_equality(found, again, ignore_row_order=True)
    assert found.join(other, ["id", "fold"]).count() < 60


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
