"""How soon monitoring sees a planted drift, and how often it is wrong without one, over seeded runs of the generator.

`python -m benchmarks.churn_drift` generates the tables of churn, builds the features of every snapshot, and monitors them
as `python -m churn monitor` does, with the product's own functions and default settings: inputs against the training rows,
predictions against those of the validation rows, performance by the labels that came in against that on the test rows. Left
out are ingestion and Delta; one logistic model, fitted on a seed of its own, scores all runs, and bins are learned from the
rows of all runs of a seed; every run has its own baseline and its own test rows. Every run is a history of its own seed; with
fewer ``--seeds`` than runs, the runs of a seed are customers of their own, which takes a tenth of the time and shares whatever
is common to a history.

The drift raises minutes of use by `--size` standard deviations of the minutes of 30 days. Bars: an alert within 2 windows,
counted from the first that holds drifted days, and a false alarm in at most 5 % of the runs without drift.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn import sample as generator
from churn.algorithms import labels
from churn.algorithms.candidates import PROBABILITY, Inputs
from churn.config import ChurnConfig
from churn.features import SPLIT, of_subscriptions, snapshot_days, split_starts
from churn.monitor import countable
from churn.schema import CUSTOMER_ID, LABEL, OUTCOME_END_DATE, SNAPSHOT_DATE, SUBSCRIPTIONS
from churn.train import fit
from shared.core.parallel import in_parallel
from shared.core.session import SessionConfig, get_session, stop
from shared.monitoring import drift, performance
from shared.monitoring.alerts import Alert
from shared.monitoring.bins import learn
from shared.monitoring.history import ModelKey
from shared.monitoring.profile import profile
from shared.monitoring.watch import Found, Watched, judge

MODEL_SEED = 999
_IS_TAUGHT = "split IN ('train', 'validation')"


@dataclass(frozen=True)
class Snapshots:
    """Features of every snapshot of a seed, with the last day the model was taught by."""

    rows: DataFrame
    taught_until: date


def main() -> None:
    """Run the seeds with and without drift and print delay and false alarms."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=20, help="histories that the runs are of")
    parser.add_argument("--customers", type=int, default=1_500, help="of a run")
    parser.add_argument("--drift-day", type=int, default=420, help="day of the log, of 540")
    parser.add_argument("--size", type=float, default=0.5, help="standard deviations")
    options = parser.parse_args()
    spark = get_session(SessionConfig(driver_memory="2g", shuffle_partitions=2, fast_start=True), "benchmark")
    config = ChurnConfig.model_validate(
        {"sample": {"customers": options.customers}, "model": {"candidates": ["logistic"], "max_correlation": 1.0}}
    )
    started = time.perf_counter()
    try:
        model, inputs = _model(spark, config)
        runs = partial(_runs, spark, config, model, inputs, options.runs, options.seeds)
        calm = runs(None, 0.0)
        drifted = runs(options.drift_day, options.size)
    finally:
        stop(spark)
    first = generator.START_DATE + timedelta(days=options.drift_day)
    delays = [_delay(found, first) for found in drifted]
    false = sum(bool(found.alerts) for found in calm)
    late = [delay for delay in delays if delay is None or delay > 2]
    print(
        f"windows       {_watched(calm)} watched a run, of about {_rows(calm):,.0f} rows; {len(inputs.names) + 1} columns"
    )
    print(f"false alarms  {false} of {len(calm)} runs without drift, {false / len(calm):.0%} (bar: at most 5%)")
    print(
        f"detection     delays in windows {delays} for {options.size:g} sd (bar: at most 2); {len(late)} runs later or never"
    )
    print(f"              {time.perf_counter() - started:,.0f} s, {options.customers:,} customers a run")


def _runs(
    spark: SparkSession,
    config: ChurnConfig,
    model: PipelineModel,
    inputs: Inputs,
    runs: int,
    seeds: int,
    day: int | None,
    size: float,
) -> list[Found]:
    done: list[Found] = []
    for seed in range(1, seeds + 1):
        count = runs // seeds + (seed <= runs % seeds)
        snapshots = _snapshots(spark, config, config.sample.customers * count, seed, day, size)
        for found in _monitored(spark, config, snapshots, model, inputs, count):
            done.append(found)
            said = [f"{a.kind} {a.subject} {a.window}: {a.reason}" for a in found.alerts]
            print(f"run {len(done):<3} seed {seed}  drift {size:g} sd  alerts {len(said)}  {said[:2]}", flush=True)
        spark.catalog.clearCache()
    return done


def _snapshots(
    spark: SparkSession, config: ChurnConfig, customers: int, seed: int, day: int | None, size: float
) -> Snapshots:
    made = generator.generate(
        spark, generator.Settings(customers, config.sample.days, seed, drift_day=day, drift_size=size)
    )
    made.lives.cache().count()
    tables = {name: rows.cache() for name, rows in made.tables.items()}
    in_parallel(spark, [rows.count for rows in tables.values()])
    as_of, days = snapshot_days(config.label, generator.START_DATE, made.as_of_date)
    windows = labels.LabelWindows(config.label.observation_days, config.label.gap_days, config.label.outcome_days)
    built = labels.snapshots(tables[SUBSCRIPTIONS.name], windows, days, as_of, rule="ended")
    labelled = [each for each in days if windows.outcome(each)[1] <= as_of]
    test, validation = split_starts(labelled, 2, 2, config.label)
    snapshot, known = F.col(SNAPSHOT_DATE), F.col(OUTCOME_END_DATE)
    split = (
        F.when(known <= F.lit(validation), "train")
        .when((snapshot >= F.lit(validation)) & (known <= F.lit(test)), "validation")
        .when((snapshot >= F.lit(test)) & (known <= F.lit(as_of)), "test")
        .otherwise("later")
    )
    rows = (
        of_subscriptions(tables, built.candidates.cache(), config.label, config.words).withColumn(SPLIT, split).cache()
    )
    taught = rows.where(_IS_TAUGHT).agg(F.max(SNAPSHOT_DATE)).collect()[0][0]
    return Snapshots(rows, taught)


def _model(spark: SparkSession, config: ChurnConfig) -> tuple[PipelineModel, Inputs]:
    rows = _snapshots(spark, config, 2_000, MODEL_SEED, None, 0.0).rows
    trained = fit(rows.where(_IS_TAUGHT), config)
    spark.catalog.clearCache()
    return trained.model, trained.inputs


def _monitored(
    spark: SparkSession, config: ChurnConfig, snapshots: Snapshots, model: PipelineModel, inputs: Inputs, count: int
) -> list[Found]:
    run = F.pmod(F.xxhash64(CUSTOMER_ID), F.lit(count)).cast("string")
    scored = countable(model.transform(snapshots.rows), inputs.text).withColumn("_run", run).cache()
    train, validation, test = (scored.where(F.col(SPLIT) == part) for part in ("train", "validation", "test"))
    of_inputs = learn(train, numeric=inputs.numeric + inputs.text, categorical=inputs.categorical)
    of_scores = learn(validation, numeric=[PROBABILITY], categorical=[])
    bins, judged = [*of_inputs, *of_scores], {"label": LABEL, "probability": PROBABILITY}
    dated = scored.withColumn("_window", F.concat_ws(" ", "_run", SNAPSHOT_DATE))
    work: list[Callable[[], Any]] = [
        partial(profile, train, of_inputs, window=F.col("_run")),
        partial(profile, validation, of_scores, window=F.col("_run")),
        partial(profile, dated, bins, window=F.col("_window")),
        partial(performance.by_window, dated, window="_window", **judged),
        partial(performance.by_window, test, window="_run", **judged),
    ]
    of_train, of_validation, of_windows, measured, tested = in_parallel(spark, work)
    found = []
    for number in map(str, range(count)):
        baseline = [each for each in (*of_train, *of_validation) if each.window == number]
        profiles, performances = (_of_run(each, number) for each in (of_windows, measured))
        own_test = next({"auc": t.auc, "rows": t.rows, "positives": t.positives} for t in tested if t.window == number)
        by_window = {name: [p for p in profiles if p.window == name] for name in {p.window for p in profiles}}
        drifts = [d for name in by_window for d in drift.of_window(name, by_window, baseline, bins, config.monitoring)]
        until = snapshots.taught_until.isoformat()
        watched = Watched(ModelKey("churn", 1, ""), bins, baseline, own_test, LABEL, PROBABILITY, watched_after=until)
        found.append(judge(profiles, drifts, {each.window: each for each in performances}, watched, config.monitoring))
    return found


def _of_run(found: Iterable[Any], number: str) -> list[Any]:
    """Return what was found in the windows of a run, under their own names."""
    of_names = [(each, each.window.split()) for each in found]
    return [replace(each, window=window) for each, (run, window) in of_names if run == number]


def _delay(found: Found, first_day: date) -> int | None:
    """Return in which window that holds drifted days the first alert about minutes came: 1 is the first; None for never."""
    windows = [window for window in found.watched if window > first_day.isoformat()]
    about = [alert for alert in found.alerts if _is_about_minutes(alert) and alert.window in windows]
    return windows.index(about[0].window) + 1 if about else None


def _is_about_minutes(alert: Alert) -> bool:
    return alert.kind == "inputs" and alert.subject.startswith("minutes")


def _watched(runs: Sequence[Found]) -> int:
    return len(runs[0].watched)


def _rows(runs: Sequence[Found]) -> float:
    rows = [p.rows for found in runs for p in found.profiles if p.window in found.watched]
    return sum(rows) / len(rows)


if __name__ == "__main__":
    main()
