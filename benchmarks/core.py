"""Speed of the core: ingestion with quality rules against a plain copy, window features at two sizes, driver memory.

`python -m benchmarks.core` prints rows per second and ratios measured in the same run on the same files; `--rows` and
`--customers` make it smaller. Peers: `spark.read.csv(…).write.parquet(…)` of the same file with the same schema.
"""

import argparse
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.columns import Column, Table
from shared.core.session import SessionConfig, get_session, stop
from shared.delta.tables import Warehouse
from shared.features.windows import WindowFeature, aggregate_as_of
from shared.ingest.pipeline import land, publish
from shared.ingest.source import Source
from shared.quality.expectations import in_range, in_set, matches

EVENTS = Table(
    "silver_bench_events",
    (
        Column("event_id", "string", nullable=False),
        Column("customer_id", "string", nullable=False),
        Column("event_ts", "timestamp", nullable=False),
        Column("channel", "string"),
        Column("amount", "double", check="amount >= 0"),
        Column("quantity", "int"),
    ),
)
FEATURES = [
    WindowFeature("days_since_last", "days_since_last"),
    *(WindowFeature(f"count_{days}", "count", days=days) for days in (30, 90, 365)),
    *(WindowFeature(f"sum_{days}", "sum", "amount", days=days) for days in (30, 90, 365)),
]
SNAPSHOTS = ("2025-04-01", "2025-07-01", "2025-10-01")
EVENTS_EACH = 20


def main() -> None:
    """Run both benchmarks and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    spark = get_session(SessionConfig(driver_memory="6g", shuffle_partitions=8), "benchmark")
    folder = tempfile.mkdtemp()
    try:
        _ingestion(spark, Path(folder), options.rows, options.repeats)
        _windows(spark, Path(folder), options.customers)
    finally:
        stop(spark)
        shutil.rmtree(folder)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"driver        peak memory of the Python process {peak_mb:,.0f} MB (target < 400)")


def _ingestion(spark: SparkSession, folder: Path, rows: int, repeats: int) -> None:
    _events(spark, rows // EVENTS_EACH).write.option("header", True).csv(f"{folder}/csv")
    schema = EVENTS.ddl()

    def plain() -> None:
        read = spark.read.schema(schema).option("header", True).csv(f"{folder}/csv")
        read.write.mode("overwrite").parquet(f"{folder}/plain")

    def ours() -> None:
        landed = land(
            spark,
            Source(format="csv", path=f"{folder}/csv"),
            EVENTS,
            Warehouse(f"{folder}/warehouse"),
            ingest_id="benchmark",
            expectations=[
                in_set("channel", ["web", "shop", "phone"]),
                in_range("quantity", 1, 100),
                matches("customer_id", r"C\d+"),
            ],
        )
        result = publish(landed)
        if result.rows_read != result.rows_written + result.rows_quarantined:
            sys.exit("rows were lost")

    plain_s, ours_s = _alternating(plain, ours, repeats)
    print(f"ingestion     {rows:,} rows: plain CSV to Parquet {plain_s:.1f} s ({rows / plain_s:,.0f} rows/s)")
    print(f"              CSV to bronze to silver with 7 rules {ours_s:.1f} s ({rows / ours_s:,.0f} rows/s)")
    print(f"              ratio {ours_s / plain_s:.2f} (target at most 2.0), median of {repeats} runs each, in turns")


def _windows(spark: SparkSession, folder: Path, customers: int) -> None:
    seconds = {}
    for size in (customers // 10, customers):
        path = f"{folder}/events_{size}"
        _events(spark, size).write.parquet(path)
        snapshots = spark.range(size).select(
            _customer(), F.explode(F.array(*(F.lit(day).cast("date") for day in SNAPSHOTS))).alias("snapshot_date")
        )
        keys = {"entity": "customer_id", "event_ts": "event_ts", "snapshot": "snapshot_date"}
        features = aggregate_as_of(spark.read.parquet(path), snapshots, FEATURES, **keys)
        for _ in ("warm-up", "timed"):
            started = time.perf_counter()
            features.write.format("noop").mode("overwrite").save()
            seconds[size] = time.perf_counter() - started
        print(
            f"windows       {size:,} customers x {EVENTS_EACH} events x {len(SNAPSHOTS)} snapshots: {seconds[size]:.1f} s"
        )
    small, large = seconds[customers // 10], seconds[customers]
    print(f"              10x the data costs {large / small:.1f}x the time (target at most 11)")


def _events(spark: SparkSession, customers: int) -> DataFrame:
    place = F.xxhash64("id")
    return spark.range(customers * EVENTS_EACH, numPartitions=8).select(
        F.format_string("E%d", "id").alias("event_id"),
        F.format_string("C%d", F.floor(F.col("id") / EVENTS_EACH)).alias("customer_id"),
        F.timestamp_seconds(F.lit(1704067200) + F.pmod(place, F.lit(63_072_000))).alias("event_ts"),
        F.element_at(F.array(*map(F.lit, ("web", "shop", "phone"))), F.pmod(place, F.lit(3)).cast("int") + 1).alias(
            "channel"
        ),
        (F.pmod(place, F.lit(10_000)) / 100).alias("amount"),
        (F.pmod(place, F.lit(9)) + 1).cast("int").alias("quantity"),
    )


def _customer() -> SparkColumn:
    return F.format_string("C%d", "id").alias("customer_id")


def _alternating(first: Callable[[], None], second: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Return the median seconds of both, after one warm-up each, run in turns so that drift hits both."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for action, kept in zip((first, second), times, strict=True):
            started = time.perf_counter()
            action()
            if repeat:
                kept.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()
