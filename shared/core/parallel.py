"""Work for all cores: several Spark jobs at once, few rows in several tasks."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pyspark.sql import DataFrame, SparkSession
from pyspark.util import inheritable_thread_target

_THREADS = 4
T = TypeVar("T")


def in_parallel(spark: SparkSession, calls: Sequence[Callable[[], T]], *, threads: int = _THREADS) -> list[T]:
    """Return the results of ``calls``, in their order; ``threads`` run at once and must not wait for each other.

    Small jobs wait for the driver and its commits more than for cores. All calls end before an error is raised, that of
    the first in order that failed; so none is left half done.
    """
    with ThreadPoolExecutor(threads) as pool:
        # A copy of the caller's properties for each: in one copy, queries would overwrite each other's settings.
        running = [pool.submit(inheritable_thread_target(spark)(call)) for call in calls]
    return [each.result() for each in running]


def spread(rows: DataFrame, *keys: str) -> DataFrame:
    """Return ``rows`` by ``keys`` over as many tasks as a shuffle has, and no fewer than this machine has cores.

    For rows that each cost much: Spark puts few rows into one task, whatever each is going to cost, and leaves alone only
    a number that is asked for. Where the setting for shuffles is no number, as Databricks allows, it decides.
    """
    partitions = rows.sparkSession.conf.get("spark.sql.shuffle.partitions") or ""
    if not partitions.isdigit():
        return rows.repartition(*keys)
    return rows.repartition(max(int(partitions), os.cpu_count() or 1), *keys)
