"""Calls at once must give what calls in turn give, errors included."""

import os
from functools import partial
from threading import Barrier

import pytest
from pyspark.sql import SparkSession

from shared.core.errors import DataError
from shared.core.parallel import in_parallel, spread


def count(spark: SparkSession, rows: int) -> int:
    return spark.range(rows).count()


def test_results_come_in_the_order_of_the_calls(spark: SparkSession) -> None:
    assert in_parallel(spark, [partial(count, spark, rows) for rows in (30, 1, 7, 0, 2, 9)]) == [30, 1, 7, 0, 2, 9]
    assert in_parallel(spark, []) == []


def test_calls_run_at_once(spark: SparkSession) -> None:
    both = Barrier(2, timeout=20)

    in_parallel(spark, [both.wait, both.wait])  # each waits for the other, or breaks


def test_each_call_has_properties_of_its_own(spark: SparkSession) -> None:
    both, context = Barrier(2, timeout=20), spark.sparkContext

    def described(text: str) -> str | None:
        context.setLocalProperty("accelerators.test", text)
        both.wait()
        return context.getLocalProperty("accelerators.test")

    assert in_parallel(spark, [partial(described, text) for text in ("one", "two")]) == ["one", "two"]


def test_the_first_error_in_order_is_raised_after_all_have_ended(spark: SparkSession) -> None:
    ended = []

    def fail(name: str) -> None:
        raise DataError("X", name, "", "")

    def end() -> None:
        ended.append(count(spark, 5))

    with pytest.raises(DataError, match="first"):
        in_parallel(spark, [end, partial(fail, "first"), partial(fail, "second"), end])

    assert ended == [5, 5]


def test_few_rows_are_spread_over_as_many_tasks_as_a_shuffle_has(spark: SparkSession) -> None:
    rows = spark.range(100, numPartitions=1)
    wanted = max(int(spark.conf.get("spark.sql.shuffle.partitions")), os.cpu_count())

    found = spread(rows, "id").selectExpr("id", "spark_partition_id() AS task").collect()

    assert sorted(row["id"] for row in found) == list(range(100))
    assert {row["task"] for row in found} == set(range(wanted))
