"""Several small Spark jobs at once: each waits for the driver and its commits more than for cores."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pyspark.sql import SparkSession
from pyspark.util import inheritable_thread_target

_THREADS = 4
T = TypeVar("T")


def in_parallel(spark: SparkSession, calls: Sequence[Callable[[], T]]) -> list[T]:
    """Return the results of ``calls``, in their order; they run at once and must not wait for each other.

    All of them end before an error is raised, that of the first call in order that failed; so none is left half done.
    """
    inheriting = inheritable_thread_target(spark)
    with ThreadPoolExecutor(_THREADS) as pool:
        running = [pool.submit(inheriting(call)) for call in calls]
    return [each.result() for each in running]
