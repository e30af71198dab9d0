"""The generator is checked against itself from outside: labels, probabilities and files are rebuilt from its tables."""

import math
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn import schema
from churn.algorithms.labels import LabelWindows, snapshots
from churn.algorithms.messages import COMPLAINTS
from churn.config import ChurnConfig, SampleConfig
from churn.sample import FILES, GAP_DAYS, OUTCOME_DAYS, Sample, Settings, folder, generate, write_files
from churn.sample import sample as run_step
from shared.core.errors import ConfigError
from shared.evaluation.binary import evaluate

CUSTOMERS = 600
WINDOWS = LabelWindows(observation_days=90, gap_days=GAP_DAYS, outcome_days=OUTCOME_DAYS)


@pytest.fixture(scope="module")
def sample(spark: SparkSession) -> Sample:
    """A sample whose rows are computed once for all tests of this module."""
    made = generate(spark, Settings(CUSTOMERS, seed=5))
    made.lives.persist()
    tables = {name: rows.localCheckpoint() for name, rows in made.tables.items()}
    return replace(made, tables=tables, truth=made.truth.localCheckpoint())


@pytest.fixture(scope="module")
def raw(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the same sample, written by the step over those of another."""
    warehouse = tmp_path_factory.mktemp("warehouse")
    config = ChurnConfig(warehouse=str(warehouse), seed=5, sample=SampleConfig(customers=CUSTOMERS))
    path = Path(folder(config))
    for stale, text in (("manifest", '{"settings": {"customers": 1}}'), ("customers", "customer_id\nC9")):
        (path / stale).mkdir(parents=True)
        (path / stale / "part-00000-stale.csv").write_text(text)
    assert run_step(spark, config, "a run").facts["rows_written"] > 10 * CUSTOMERS
    return path


def test_every_table_has_the_declared_columns_and_types(sample: Sample) -> None:
    for table in schema.EVENT_LOG:
        declared = {(column.name, column.type) for column in table.columns}
        assert {(f.name, f.dataType.simpleString()) for f in sample.tables[table.name].schema} == declared


def test_every_generated_row_passes_the_declared_checks(sample: Sample) -> None:
    for table in schema.EVENT_LOG:
        rows = sample.tables[table.name]
        broken = [f"NOT ({column.check})" for column in table.columns if column.check]
        broken += [f"{column.name} IS NULL" for column in table.columns if not column.nullable]
        assert rows.where(" OR ".join(broken)).isEmpty(), table.name
        if table.key:
            assert rows.select(*table.key).distinct().count() == rows.count(), table.name


def test_the_label_factory_draws_exactly_the_decisions_of_the_truth(sample: Sample) -> None:
    contracts = sample.tables[schema.SUBSCRIPTIONS.name]
    found = snapshots(contracts, WINDOWS, sample.labelled_dates, sample.as_of_date, rule="ended").rows
    columns = ["customer_id", "snapshot_date", "label"]
    known = sample.truth.where("label IS NOT NULL")

    assert len(sample.labelled_dates) == 14
    assert_df_equality(found.select(columns), known.select(columns), ignore_row_order=True, ignore_nullable=True)


def test_the_probability_depends_on_nothing_but_what_the_event_tables_show_before_the_snapshot(sample: Sample) -> None:
    day = sample.decision_dates[7]
    decided = sample.truth.where(F.col("snapshot_date") == F.lit(day))

    def before(name: str, days: int) -> DataFrame:
        start = F.lit(day - timedelta(days=days))
        return sample.tables[name].where((F.to_date("event_ts") >= start) & (F.to_date("event_ts") < F.lit(day)))

    usage, month = before(schema.USAGE.name, 90), before(schema.USAGE.name, 30)
    # What the text tells: each complaint holds one of these sentences, and nothing else does.
    is_complaint = F.coalesce(F.col("message").rlike("|".join(map(re.escape, COMPLAINTS))), F.lit(False))
    raised = F.col("start_date").between(F.lit(day - timedelta(days=90)), F.lit(day - timedelta(days=1)))
    parts = [
        month.groupBy("customer_id").agg(F.round(F.sum("minutes"), 1).alias("m30")),
        usage.groupBy("customer_id").agg(
            F.round(F.sum("minutes"), 1).alias("m90"), F.date_diff(F.lit(day), F.max("event_ts")).alias("since")
        ),
        before(schema.PAYMENTS.name, 90).groupBy("customer_id").agg(F.count_if("is_failed").alias("failed")),
        before(schema.SUPPORT.name, 90)
        .groupBy("customer_id")
        .agg(F.count("*").alias("tickets"), F.count_if(is_complaint).alias("complaints")),
        sample.tables[schema.SUBSCRIPTIONS.name]
        .where(raised & F.col("subscription_id").endswith("-2"))
        .groupBy("customer_id")
        .agg(F.count("*").alias("raised")),
        sample.tables[schema.CUSTOMERS.name].select(
            "customer_id", F.date_diff(F.lit(day), "signup_date").alias("tenure")
        ),
    ]
    rebuilt = decided
    for part in parts:
        rebuilt = rebuilt.join(part, "customer_id", "left")
    counts = rebuilt.fillna(0, ["m30", "m90", "failed", "tickets", "complaints", "raised"])
    differs = (
        (F.abs(F.col("m30") - F.col("minutes_30")) > 1e-6)
        | (F.abs(F.col("m90") - F.col("minutes_90")) > 1e-6)
        | ~F.col("since").eqNullSafe(F.col("days_since_use"))
        | (F.col("failed") != F.col("failed_90"))
        | (F.col("tickets") != F.col("tickets_90"))
        | (F.col("complaints") != F.col("complaints_90"))
        | (F.col("raised") != F.col("raised_90"))
        | (F.col("tenure") != F.col("tenure_days"))
    )

    assert counts.count() > 200
    assert (
        counts.agg(*[F.sum(name) for name in ("m30", "failed", "tickets", "complaints", "raised")]).first().count(0)
        == 0
    )
    assert counts.where(differs).isEmpty()
    inputs = [name for name in sample.truth.columns if name not in ("customer_id", "churn_probability", "label")]
    assert sample.truth.groupBy(*inputs).agg(F.count_distinct("churn_probability").alias("n")).where("n > 1").isEmpty()


def test_the_probabilities_are_calibrated_and_the_rate_is_the_promised_one(sample: Sample) -> None:
    known = sample.truth.where("label IS NOT NULL")
    high = F.col("churn_probability") > 0.15
    for group in (known.where(high), known.where(~high)):
        p, variance, churned = group.agg(
            F.sum("churn_probability"), F.sum(F.expr("churn_probability * (1 - churn_probability)")), F.sum("label")
        ).first()
        assert abs(churned - p) < 4 * math.sqrt(variance)
    assert 0.05 < known.agg(F.avg("label")).first()[0] < 0.11


def test_nothing_is_dated_before_the_signup_or_after_the_end_of_service_or_of_the_log(sample: Sample) -> None:
    lives = (
        sample.tables[schema.SUBSCRIPTIONS.name]
        .groupBy("customer_id")
        .agg(F.min("start_date").alias("first"), F.max(F.coalesce("end_date", F.lit(sample.as_of_date))).alias("out"))
    )
    for table in (schema.USAGE, schema.PAYMENTS, schema.SUPPORT):
        dated = sample.tables[table.name].join(lives, "customer_id").withColumn("day", F.to_date("event_ts"))
        assert dated.where((F.col("day") < F.col("first")) | (F.col("day") >= F.col("out"))).isEmpty(), table.name
    assert lives.where(F.col("out") > F.lit(sample.as_of_date)).isEmpty()


def test_the_same_seed_gives_the_same_rows_however_they_are_partitioned(spark: SparkSession, sample: Sample) -> None:
    again, usage = generate(spark, Settings(40, seed=5)), schema.USAGE.name
    # The first customers of a larger sample, which lie in other partitions.
    first = {name: rows.where(F.col("customer_id") < "C0000040") for name, rows in sample.tables.items()}

    assert_df_equality(again.tables[usage], first[usage], ignore_row_order=True, ignore_nullable=True)
    customers = generate(spark, Settings(40, seed=6)).tables[schema.CUSTOMERS.name]
    assert customers.exceptAll(first[schema.CUSTOMERS.name]).count() > 30


def test_a_harder_sample_has_a_lower_ceiling(spark: SparkSession, sample: Sample) -> None:
    def ceiling(made: Sample) -> float:
        return evaluate(made.truth.where("label IS NOT NULL"), label="label", probability="churn_probability").auc

    assert 0.82 < ceiling(sample) < 0.90
    assert 0.66 < ceiling(generate(spark, Settings(CUSTOMERS, seed=5, difficulty=2.0))) < 0.77


def test_a_log_that_is_not_whole_periods_long_ends_on_its_day(spark: SparkSession) -> None:
    made = generate(spark, Settings(60, days=200, seed=1))
    newest = made.tables[schema.USAGE.name].agg(F.max(F.to_date("event_ts"))).first()[0]

    assert made.decision_dates[-1] == made.settings.start_date + timedelta(days=180)
    assert made.as_of_date - timedelta(days=9) < newest < made.as_of_date


def test_files_hold_the_tables_and_as_many_broken_rows_as_the_manifest_says(
    spark: SparkSession, sample: Sample, raw: Path
) -> None:
    manifest = write_files(spark, sample.settings, str(raw))  # already there: only reads the manifest

    for name, (table, form) in FILES.items():
        count = manifest["tables"][name]
        reader = spark.read.option("header", True) if form == "csv" else spark.read
        read = reader.format(form).load(f"{raw}/{name}")
        typed = read.selectExpr(*[f"try_cast({c.name} AS {c.type}) AS {c.name}" for c in table.columns])
        tests = [c.check for c in table.columns if c.check]
        tests += [f"{c.name} IS NOT NULL" for c in table.columns if not c.nullable]
        good = typed.where(" AND ".join(f"({test})" for test in tests))
        assert read.count() == count["rows"]
        assert read.count() - good.count() == sum(count["broken"].values())
        if name != "customers":  # whose text is dirty on purpose
            assert_df_equality(good, sample.tables[table.name], ignore_row_order=True, ignore_nullable=True)
    assert sum(sum(count["broken"].values()) for count in manifest["tables"].values()) > 20


def test_the_dirt_of_the_customers_is_in_their_spelling_alone(spark: SparkSession, sample: Sample, raw: Path) -> None:
    read = spark.read.csv(str(raw / "customers"), header=True)
    spelled = read.where("length(customer_id) = 8").selectExpr(
        "customer_id", "lower(trim(segment)) AS segment", "segment AS typed", "region", "age_band"
    )

    assert spelled.join(sample.tables[schema.CUSTOMERS.name], ["customer_id", "segment"]).count() == CUSTOMERS
    share = spelled.agg(
        F.avg((F.col("typed") != F.col("segment")).cast("int")), F.avg(F.col("age_band").isNull().cast("int"))
    ).first()
    assert 0.01 < share[0] < 0.08
    assert 0.02 < share[1] < 0.09


def test_a_folder_that_holds_the_sample_is_left_alone_and_one_that_holds_another_is_replaced(
    spark: SparkSession, sample: Sample, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(raw.rglob("*"))
    monkeypatch.setattr("churn.sample.generate", None)  # planning alone takes seconds
    write_files(spark, sample.settings, str(raw))

    assert sorted(raw.rglob("*")) == files
    assert [path for path in files if "stale" in path.name] == []


def test_a_source_of_ones_own_needs_no_embedded_data(spark: SparkSession, tmp_path: Path) -> None:
    given = ChurnConfig(warehouse=str(tmp_path), source="somewhere")

    assert run_step(spark, given, "a run").facts == {"rows_written": 0}
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="SOURCE_NEEDED"):
        run_step(spark, ChurnConfig(warehouse="catalog:main.churn"), "a run")


def test_a_sample_of_nobody_is_refused() -> None:
    for arguments in ({"customers": 0}, {"customers": 10, "days": 100}, {"customers": 10, "difficulty": 0.0}):
        with pytest.raises(ConfigError, match="SAMPLE_INVALID"):
            Settings(**arguments)


def test_a_planted_drift_makes_days_of_use_longer_from_its_day_on_and_changes_nothing_before(
    spark: SparkSession, sample: Sample
) -> None:
    day = 420
    drifted = generate(spark, Settings(CUSTOMERS, seed=5, drift_day=day, drift_size=0.5))
    before = F.col("event_ts") < F.lit(sample.settings.start_date + timedelta(days=day))

    usage, other = (made.tables[schema.USAGE.name] for made in (sample, drifted))
    assert_df_equality(usage.where(before), other.where(before), ignore_row_order=True)

    both = usage.join(other.withColumnsRenamed({"minutes": "longer"}), ["customer_id", "event_ts"]).where(~before)
    added = both.agg(F.min(F.col("longer") - F.col("minutes")), F.max(F.col("longer") - F.col("minutes"))).collect()[0]
    assert added[0] == pytest.approx(added[1])
    assert added[0] > 0

    last = F.col("snapshot_date") == F.lit(sample.as_of_date - timedelta(days=30))  # all of its 30 days have drifted
    plain, moved = (
        made.truth.where(last & (F.col("tenure_days") >= 30))
        .agg(F.avg("minutes_30"), F.stddev("minutes_30"))
        .collect()[0]
        for made in (sample, drifted)
    )
    assert (moved[0] - plain[0]) / plain[1] == pytest.approx(0.5, abs=0.15)
