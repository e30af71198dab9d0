"""Speed of score-batch against the plain way: `PipelineModel.transform` and an overwrite of a Delta table.

`python -m benchmarks.batch_scoring` trains the model of churn's demo on embedded data, copies its customers of today until there
are `--rows`, and prints rows per second and ratios, measured in turn in the same run: all customers new, nothing changed,
one in a hundred changed, and with reasons, for which the model scores a row for each feature of a customer.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn.config import ChurnConfig, layers
from churn.features import FEATURES
from churn.pipeline import STEPS
from churn.schema import CUSTOMER_ID
from churn.score_batch import SCORES, population, score_batch
from churn.train import MODEL
from shared.core import clock
from shared.core.session import SessionConfig, get_session, stop
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.registry import models, tracking

BEFORE = ("sample", "ingest", "features", "train", "evaluate", "promote")


def main() -> None:
    """Run the benchmark and print its ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--explained-rows", type=int, default=20_000)
    parser.add_argument("--customers", type=int, default=2_000, help="customers of the embedded data to train on")
    parser.add_argument("--trained", help="a warehouse of churn run on embedded data, to score with its champion")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    session = SessionConfig(master=f"local[{options.cores}]", driver_memory="4g", shuffle_partitions=4)
    spark = get_session(session, "benchmark")
    folder = Path(tempfile.mkdtemp())
    try:
        own = f"warehouse: {options.trained or folder / 'trained'}"
        trained = ChurnConfig.load(*layers(None), own, overrides=[f"sample.customers={options.customers}"])
        for verb in () if options.trained else BEFORE:
            STEPS[verb](spark, trained, clock.new_run_id())
        _measure(spark, folder, trained, options.rows, options.repeats)
        _with_reasons(spark, folder, trained, options.explained_rows)
    finally:
        stop(spark)
        shutil.rmtree(folder)


def _measure(spark: SparkSession, folder: Path, trained: ChurnConfig, rows: int, repeats: int) -> None:
    config = _copied(spark, folder / "many", trained, rows, reasons=0)
    warehouse = Warehouse(config.warehouse)
    features = warehouse.table(FEATURES)
    client = tracking.connect(config, MODEL)
    model = models.load(models.find(client, MODEL, models.CHAMPION))

    def plain() -> None:
        scored = model.transform(population(read(spark, features), config)).select(CUSTOMER_ID, "probability")
        scored.write.format("delta").mode("overwrite").save(str(folder / "plain"))

    def ours() -> None:
        score_batch(spark, config, clock.new_run_id())

    def all_new() -> None:
        shutil.rmtree(folder / "many" / SCORES, ignore_errors=True)
        ours()

    all_new()  # warm, and the digest of the features is known to the lineage, as after training
    times = _in_turn({"plain": plain, "all new": all_new, "nothing changed": ours}, repeats)
    changed = F.when(F.pmod(F.xxhash64(CUSTOMER_ID), F.lit(100)) == 0, F.col("tenure_days") + 1)
    moved = read(spark, features).withColumn("tenure_days", F.coalesce(changed, "tenure_days"))
    overwrite(moved, features)
    times |= _in_turn({"one in a hundred changed": ours}, 1)
    for name, seconds in times.items():
        ratio = times["plain"] / seconds
        print(f"{name:<28}{seconds:8.1f} s {rows / seconds:12,.0f} rows/s {ratio:8.2f} × plain")


def _with_reasons(spark: SparkSession, folder: Path, trained: ChurnConfig, rows: int) -> None:
    config = _copied(spark, folder / "few", trained, rows, reasons=3)
    started = time.perf_counter()
    score_batch(spark, config, clock.new_run_id())
    seconds = time.perf_counter() - started
    print(f"{f'three reasons, {rows:,} rows':<28}{seconds:8.1f} s {rows / seconds:12,.0f} rows/s")


def _copied(spark: SparkSession, folder: Path, trained: ChurnConfig, rows: int, *, reasons: int) -> ChurnConfig:
    """Write a feature table of so many customers of today, and return the settings that score it."""
    source = read(spark, Warehouse(trained.warehouse).table(FEATURES))
    today = population(source, trained)
    copies = spark.range(-(-rows // today.count())).withColumnRenamed("id", "_copy")
    many = today.crossJoin(copies).withColumn(CUSTOMER_ID, F.concat_ws("-", CUSTOMER_ID, "_copy")).drop("_copy")
    overwrite(_limited(many, rows), Warehouse(str(folder)).table(FEATURES))
    scoring = trained.scoring.model_copy(update={"reasons": reasons})
    uri = f"sqlite:///{trained.warehouse}/mlflow.db"
    return trained.model_copy(update={"warehouse": str(folder), "tracking_uri": uri, "scoring": scoring})


def _limited(rows: DataFrame, count: int) -> DataFrame:
    return rows.limit(count).repartition(4)


def _in_turn(works: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each, measured one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in seconds.items()}


if __name__ == "__main__":
    main()
