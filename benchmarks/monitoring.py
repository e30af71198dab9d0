"""Speed of monitoring: profiles of many columns in one pass, against counting the nulls of the same columns.

`python -m benchmarks.monitoring` writes a Delta table of `--rows` × 30 columns (24 numbers, 6 texts, a twentieth of the
values missing), learns bins from a tenth of it, and times in turn, in one session: one aggregation that counts the nulls of
all columns, and `shared.monitoring.profile` on the same table. Bar: at most twice the time. Processor seconds of all
processes are printed beside, since a busy machine stretches clocks.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial

import psutil
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.draws import Draw
from shared.core.session import SessionConfig, get_session, stop
from shared.monitoring.bins import learn
from shared.monitoring.profile import profile

NUMBERS = [f"x{place:02d}" for place in range(24)]
TEXTS = [f"c{place:02d}" for place in range(6)]


def main() -> None:
    """Write the table, time both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--table", help="a table written before, to save the time")
    options = parser.parse_args()
    spark = get_session(SessionConfig(driver_memory="4g"), "benchmark")
    folder = options.table or tempfile.mkdtemp()
    try:
        if not options.table:
            _rows(spark, options.rows).write.format("delta").mode("overwrite").save(folder)
        rows = spark.read.format("delta").load(folder)
        bins = learn(rows.where(F.xxhash64("x00", "x01") % 10 == 0), numeric=NUMBERS, categorical=TEXTS)
        _compare(partial(_nulls, rows), lambda: profile(rows, bins), options.repeats)
    finally:
        stop(spark)
        if not options.table:
            shutil.rmtree(folder)


def _compare(count_nulls: Callable[[], object], profiled: Callable[[], object], repeats: int) -> None:
    """Time both in turn, after one round that does not count: Java compiles what runs often."""
    count_nulls()
    profiled()
    times = [(_timed(count_nulls), _timed(profiled)) for _ in range(repeats)]
    for place, unit in enumerate(("s", "processor s")):
        base, ours = (statistics.median(pair[side][place] for pair in times) for side in (0, 1))
        ratios = sorted(pair[1][place] / pair[0][place] for pair in times)
        print(
            f"{unit:<12}  nulls {base:6.2f}  profile {ours:6.2f}  ratio {statistics.median(ratios):.2f} "
            f"[{ratios[0]:.2f}, {ratios[-1]:.2f}] (bar: at most 2)"
        )


def _nulls(rows: DataFrame) -> object:
    return rows.agg(*(F.count_if(F.col(name).isNull()).alias(name) for name in rows.columns)).collect()


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    before, started = _processor_seconds(), time.perf_counter()
    work()
    return time.perf_counter() - started, _processor_seconds() - before


def _processor_seconds() -> float:
    """Return what this process, the JVM and the Python workers have used so far."""
    own, total = psutil.Process(), 0.0
    for process in [own, *own.children(recursive=True)]:
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system + (used.children_user + used.children_system if process != own else 0.0)
    return total


def _rows(spark: SparkSession, count: int) -> DataFrame:
    draw = Draw(3)
    values = {
        name: draw.normal(name, "id") if place % 3 else F.floor(20 * draw.uniform(name, "id")).cast("double")
        for place, name in enumerate(NUMBERS)
    }
    levels = {name: [f"level {level}" for level in range(4 + 2 * place)] for place, name in enumerate(TEXTS)}
    values |= {name: draw.pick(levels[name], name, "id") for name in TEXTS}
    is_there = {name: draw.uniform(f"{name}.missing", "id") >= 0.05 for name in values}
    return spark.range(count).select(*(F.when(is_there[name], value).alias(name) for name, value in values.items()))


if __name__ == "__main__":
    main()
