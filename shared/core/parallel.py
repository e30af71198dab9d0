"""Work for all cores: several small Spark jobs at once, few rows in several tasks."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pyspark.sql import DataFrame, SparkSession
from pyspark.util import inheritable_thread_target

_THREADS = 4
T = TypeVar("T")


def in_parallel(spark: SparkSession, calls: Sequence[Callable[[], T]]) -> list[T]:
    """Return the results of ``calls``, in their order; they run at once and must not wait for each other.

    Each waits for the driver and its commits more than for cores. All of them end before an error is raised, that of the first call in order that failed; so none is left half done.
    """
    inheriting = inheritable_thread_target(spark)
    with ThreadPoolExecutor(_THREADS) as pool:
        running = [pool.submit(inheriting(call)) for call in calls]
    return [each.result() for each in running]


def spread(rows: DataFrame, *keys: str) -> DataFrame:
    """Return ``rows`` by ``keys`` over as many tasks as a shuffle has: for few rows that each cost much.

    Spark puts few rows into one task, whatever each is going to cost; only a number that is asked for it leaves alone.
    """
    partitions = rows.sparkSession.conf.get("spark.sql.shuffle.partitions") or ""
    return rows.repartition(int(partitions), *keys) if partitions.isdigit() else rows.repartition(*keys)
