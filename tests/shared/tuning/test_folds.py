"""In no fold may the future teach, nor the group of a row that is held out."""

from datetime import date, timedelta
from functools import reduce
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import DataError
from shared.features import leakage
from shared.tuning.folds import Fold, blocks_forward, by_group, by_time

BEGIN = date(2024, 1, 1)
REACH = 60  # gap and outcome window


@pytest.fixture(scope="module")
def snapshots(spark: SparkSession) -> DataFrame:
    """Ten customers on eight monthly snapshots, whose outcome is known two months later."""
    days = [(BEGIN + timedelta(days=30 * month), customer) for month in range(8) for customer in range(10)]
    rows = spark.createDataFrame(days, "day date, customer int")
    return rows.withColumn("known", F.date_add("day", REACH)).cache()


def contents(folds: list[Fold], column: str) -> list[tuple[set[Any], set[Any]]]:
    """Values of a column in the two parts of each fold, in one job."""
    parts = [
        rows.select(F.lit(place).alias("fold"), F.lit(part).alias("part"), column)
        for place, fold in enumerate(folds)
        for part, rows in enumerate((fold.train, fold.held_out))
    ]
    found = {(row[0], row[1]): set(row[2]) for row in _sets(reduce(DataFrame.union, parts), column)}
    return [(found[place, 0], found[place, 1]) for place in range(len(folds))]


def _sets(rows: DataFrame, column: str) -> list[Row]:
    return rows.groupBy("fold", "part").agg(F.collect_set(column)).collect()


def month(day: date) -> int:
    return (day - BEGIN).days // 30


def test_folds_by_time_go_forward_and_learn_only_what_was_known(snapshots: DataFrame) -> None:
    folds = by_time(snapshots, "day", "known", 4)

    found = [tuple({month(day) for day in part} for part in parts) for parts in contents(folds, "day")]
    assert found == [({0, 1, 2}, {4}), ({0, 1, 2, 3}, {5}), ({0, 1, 2, 3, 4}, {6}), ({0, 1, 2, 3, 4, 5}, {7})]
    leakage.check_time(folds[0].train, folds[0].held_out, time="day", known="known")


def test_a_leak_planted_in_a_fold_by_time_is_found(snapshots: DataFrame) -> None:
    honest = by_time(snapshots, "day", "known", 4)[-1]
    planted = Fold("planted", honest.train.unionByName(snapshots.where("day = '2024-06-29'")), honest.held_out)

    with pytest.raises(DataError, match=r"LEAK_TIME_OVERLAP.*2024-08-28"):
        leakage.check_time(planted.train, planted.held_out, time="day", known="known")


def test_rows_without_a_time_are_in_no_fold_and_those_without_an_outcome_are_not_learned_from(
    snapshots: DataFrame,
) -> None:
    odd = snapshots.where("customer = 0").select(F.lit(None).cast("date").alias("day"), F.lit(77).alias("customer"))
    odd = odd.withColumn("known", F.lit(BEGIN)).limit(1)
    unknown = snapshots.limit(1).select("day", F.lit(88).alias("customer"), F.lit(None).cast("date").alias("known"))

    folds = by_time(snapshots.unionByName(odd).unionByName(unknown), "day", "known", 2)

    assert [train | held_out for train, held_out in contents(folds, "customer")] == [set(range(10))] * 2


def test_blocks_are_of_equal_length_and_the_last_ones() -> None:
    days = [BEGIN + timedelta(days=30 * month) for month in range(11)]

    assert [[days.index(day) for day in block] for block in blocks_forward(days, days[3], 4)] == [
        [3, 4],
        [5, 6],
        [7, 8],
        [9, 10],
    ]


def test_days_that_give_fewer_than_two_folds_are_refused(snapshots: DataFrame) -> None:
    with pytest.raises(DataError, match=r"FOLDS_TOO_FEW.*3 days.*outcomes known from 2024-03-01, give 1 folds"):
        by_time(snapshots.where("day < '2024-03-05'"), "day", "known", 4)
    with pytest.raises(DataError, match=r"FOLDS_TOO_FEW.*0 days"):
        by_time(snapshots.limit(0), "day", "known", 4)


def test_folds_by_group_hold_out_each_row_once_and_tear_no_group_apart(snapshots: DataFrame) -> None:
    folds = by_group(snapshots, "customer", 3, seed=7)

    found = contents(folds, "customer")
    assert sorted(customer for _, held_out in found for customer in held_out) == list(range(10))
    assert [train | held_out for train, held_out in found] == [set(range(10))] * 3
    assert all(not train & held_out for train, held_out in found)
    assert folds[0].train.columns == snapshots.columns


def test_a_leak_planted_in_a_fold_by_group_is_found(snapshots: DataFrame) -> None:
    honest = by_group(snapshots, "customer", 3, seed=7)[0]

    with pytest.raises(DataError, match="LEAK_GROUP_OVERLAP"):
        leakage.check_groups(honest.train.unionByName(honest.held_out.limit(1)), honest.held_out, group="customer")
