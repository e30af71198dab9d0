"""Features of a customer on a snapshot day, for every shape of source, as one table with label and split.

Only days before the snapshot are seen. Row-wise features are plain columns here; what learns from training rows
(medians, levels, knots) is fitted in `churn.train` and nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn import sample as generator
from churn import schema
from churn.algorithms import labels
from churn.config import ChurnConfig, LabelConfig
from churn.schema import CUSTOMER_ID, EVENT_TS, LABEL, OUTCOME_END_DATE, OUTCOME_START_DATE, SNAPSHOT_DATE
from shared.core.errors import DataError
from shared.core.run import StepResult
from shared.delta import lineage
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.features import windows
from shared.features.split import by_hash
from shared.features.text import standardised
from shared.features.windows import WindowFeature

FEATURES = "gold_churn_features"
SPLIT = "split"
BOOKKEEPING = (CUSTOMER_ID, SNAPSHOT_DATE, LABEL, OUTCOME_START_DATE, OUTCOME_END_DATE, SPLIT)

_YES_NO_LABEL = "churn"
_SERVICES = (
    "online_security",
    "online_backup",
    "device_protection",
    "tech_support",
    "streaming_tv",
    "streaming_movies",
)


def features(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Build the feature table: one row per customer and snapshot, with label and split."""
    warehouse = Warehouse(config.warehouse)
    tables, build = {
        "customers": ((schema.TELCO,), _of_customers),
        "purchases": ((schema.PURCHASES,), _of_purchases),
        "subscriptions": (schema.EVENT_LOG, _of_subscriptions),
    }[config.shape]
    reads = [(ref, latest_version(spark, ref)) for ref in (warehouse.table(table.name) for table in tables)]
    rows, facts = build(config, {ref.label: read(spark, ref, version) for ref, version in reads})
    table = warehouse.table(FEATURES)
    written = overwrite(rows, table, schema_may_change=True)
    lineage.record(spark, warehouse, run_id, "features", reads)
    stored = read(spark, table)
    counts = {row[SPLIT]: row["count"] for row in stored.groupBy(SPLIT).count().collect()}
    inputs = len(stored.columns) - len(BOOKKEEPING)
    return StepResult(
        {"rows_written": written.rows, "features": inputs, **facts, "split": counts},
        tables={FEATURES: {"path": table.path, "version": latest_version(spark, table), "rows": written.rows}},
    )


def of_telco(customers: DataFrame) -> DataFrame:
    """Return the features of a Telco customer table, keyed by customer, without label.

    ``charge_per_month`` is total over tenure, null in the first month; ``charge_change`` is the last charge against
    it; ``service_count`` counts the services that say Yes.
    """
    tenure = F.col("tenure_months")
    per_month = F.col("total_charges") / F.nullif(tenure, F.lit(0))
    services = sum((F.col(name).eqNullSafe("Yes").cast("int") for name in _SERVICES), F.lit(0))
    return customers.drop(_YES_NO_LABEL).withColumns(
        {
            "charge_per_month": per_month,
            "charge_change": F.col("monthly_charges") - per_month,
            "service_count": services,
            "is_senior": F.col("is_senior").cast("int"),
        }
    )


def telco_label(customers: DataFrame) -> DataFrame:
    """Return ``customer_id, label`` with 1 for Yes and 0 for No.

    Raises:
        DataError: the label is null somewhere, has other values, or only one.
    """
    counts = {row[0]: row[1] for row in customers.groupBy(_YES_NO_LABEL).count().limit(20).collect()}
    if None in counts:
        raise DataError("LABEL_NULL", f"{counts[None]} rows have no label in 'churn'.", "Yes or No.", "Leave them out.")
    others = sorted(set(counts) - {"Yes", "No"})
    if others:
        raise DataError(
            "LABEL_NOT_BINARY", f"The label 'churn' also holds {others}.", "Yes or No.", "Map or drop them."
        )
    if len(counts) < 2:
        raise DataError("LABEL_ONE_CLASS", f"Every label is {next(iter(counts), None)!r}.", "Yes and No.", "Check it.")
    return customers.select(CUSTOMER_ID, F.col(_YES_NO_LABEL).eqNullSafe("Yes").cast("int").alias(LABEL))


def _of_customers(config: ChurnConfig, tables: Mapping[str, DataFrame]) -> tuple[DataFrame, dict[str, int]]:
    customers = tables[schema.TELCO.name]
    labelled = of_telco(customers).join(telco_label(customers), CUSTOMER_ID)
    undated = {name: F.lit(None).cast("date") for name in (SNAPSHOT_DATE, OUTCOME_START_DATE, OUTCOME_END_DATE)}
    return _split_by_customer(labelled.withColumns(undated), config), {}


def _of_purchases(config: ChurnConfig, tables: Mapping[str, DataFrame]) -> tuple[DataFrame, dict[str, int]]:
    purchases = tables[schema.PURCHASES.name]
    snapshots, days, facts = _snapshots(purchases, purchases, config, "inactive")
    return _split(of_purchases(purchases, snapshots, config.label), days, config), facts


def _of_subscriptions(config: ChurnConfig, tables: Mapping[str, DataFrame]) -> tuple[DataFrame, dict[str, int]]:
    contracts = tables[schema.SUBSCRIPTIONS.name]
    snapshots, days, facts = _snapshots(contracts, tables[schema.USAGE.name], config, "ended")
    return _split(of_subscriptions(tables, snapshots), days, config), facts


def of_purchases(purchases: DataFrame, snapshots: DataFrame, label: LabelConfig) -> DataFrame:
    """Return recency, frequency, monetary value, trends and gaps of buyers as of their snapshots.

    Columns of ``snapshots`` are kept. Amounts are in the currency of the source, recency and gaps in days.
    """
    near, far = max(label.observation_days // 4, 1), max(label.observation_days // 2, 2)
    wanted = [
        WindowFeature("days_since_last", "days_since_last"),
        WindowFeature("tenure_days", "days_since_first"),
        WindowFeature("purchases", "count"),
        WindowFeature("purchase_days", "distinct_days"),
        WindowFeature("amount", "sum", "amount"),
        WindowFeature("amount_mean", "mean", "amount"),
        WindowFeature("amount_max", "max", "amount"),
        WindowFeature("quantity", "sum", "quantity"),
        WindowFeature("purchases_near", "count", days=near),
        WindowFeature("purchases_far", "count", days=far),
        WindowFeature("amount_near", "sum", "amount", days=near),
        WindowFeature("amount_far", "sum", "amount", days=far),
    ]
    seen = _as_of(purchases, snapshots, wanted)
    gaps = _gaps(purchases, snapshots)
    trend = F.col("purchases_near") / F.nullif(F.col("purchases_far"), F.lit(0))
    return (
        snapshots.join(seen, [CUSTOMER_ID, SNAPSHOT_DATE])
        .join(gaps, [CUSTOMER_ID, SNAPSHOT_DATE], "left")
        .withColumn("purchase_trend", trend)
        .withColumn("gap_ratio", F.col("days_since_last") / F.nullif(F.col("median_gap_days"), F.lit(0)))
    )


def of_subscriptions(tables: Mapping[str, DataFrame], snapshots: DataFrame) -> DataFrame:
    """Return usage, payment, support, contract and customer features of subscribers as of their snapshots."""
    usage, payments, support = (tables[table.name] for table in (schema.USAGE, schema.PAYMENTS, schema.SUPPORT))
    of_usage = [
        WindowFeature("days_since_use", "days_since_last", days=90),
        WindowFeature("use_days_30", "count", days=30),
        WindowFeature("use_days_90", "count", days=90),
        WindowFeature("minutes_30", "sum", "minutes", days=30),
        WindowFeature("minutes_90", "sum", "minutes", days=90),
    ]
    failed = payments.where("is_failed")
    of_payments = [WindowFeature("failed_90", "count", days=90), WindowFeature("failed_all", "count")]
    of_support = [
        WindowFeature("tickets_30", "count", days=30),
        WindowFeature("tickets_90", "count", days=90),
        WindowFeature("severity_90", "max", "severity", days=90),
    ]
    keys = [CUSTOMER_ID, SNAPSHOT_DATE]
    return (
        snapshots.join(_as_of(usage, snapshots, of_usage), keys)
        .join(_gaps(usage, snapshots), keys, "left")
        .join(_as_of(failed, snapshots, of_payments), keys)
        .join(_as_of(support, snapshots, of_support), keys)
        .join(_contract(tables[schema.SUBSCRIPTIONS.name], snapshots), keys)
        .join(_person(tables[schema.CUSTOMERS.name]), CUSTOMER_ID, "left")
        .withColumn("minutes_trend", F.col("minutes_30") * 3 / F.nullif(F.col("minutes_90"), F.lit(0)))
        .withColumn("gap_ratio", F.col("days_since_use") / F.nullif(F.col("median_gap_days"), F.lit(0)))
        .withColumn("failed_90_basic", F.when(F.col("plan") == "basic", F.col("failed_90")).otherwise(0))
        .withColumn("tenure_days", F.date_diff(SNAPSHOT_DATE, "signup_date"))
        .drop("signup_date")
    )


def _snapshots(
    facts: DataFrame, activity: DataFrame, config: ChurnConfig, rule: labels.Rule
) -> tuple[DataFrame, list[date], dict[str, int]]:
    """Return the customers at risk on every snapshot, the labelled days and counts.

    Those to score now, whose outcome nobody knows, have no label.
    """
    label = config.label
    lengths = labels.LabelWindows(label.observation_days, label.gap_days, label.outcome_days)
    as_of = label.as_of or generator.as_of_date(config) or labels.observed_until(activity)
    dates = labels.snapshot_dates(as_of, label.snapshots, label.every_days)
    built = labels.snapshots(facts, lengths, dates, as_of, rule=rule)
    built = replace(built, candidates=built.candidates.cache())  # counted here, then joined with every feature
    counts = built.counts()
    known = sum(count.labelled for count in counts)
    if not known:
        raise DataError(
            "OUTCOME_UNKNOWN",
            f"No snapshot up to {as_of} has a known outcome.",
            f"{label.gap_days + label.outcome_days} days of data after a snapshot.",
            "Shorten label.outcome_days or take more snapshots.",
        )
    is_current = F.col(SNAPSHOT_DATE) == F.lit(as_of)
    rows = built.candidates.where(F.col(LABEL).isNotNull() | is_current)
    current = counts[-1].unknown if counts[-1].snapshot_date == as_of else 0
    unknown = sum(count.unknown for count in counts) - current
    days = [count.snapshot_date for count in counts if count.labelled]
    return rows, days, {"labelled": known, "churned": sum(c.positives for c in counts), "outcome_unknown": unknown}


def _as_of(events: DataFrame, snapshots: DataFrame, wanted: Sequence[WindowFeature]) -> DataFrame:
    keys = snapshots.select(CUSTOMER_ID, SNAPSHOT_DATE)
    return windows.aggregate_as_of(events, keys, wanted, entity=CUSTOMER_ID, event_ts=EVENT_TS, snapshot=SNAPSHOT_DATE)


def _gaps(events: DataFrame, snapshots: DataFrame) -> DataFrame:
    keys = snapshots.select(CUSTOMER_ID, SNAPSHOT_DATE)
    return windows.gap_features(events, keys, entity=CUSTOMER_ID, event_ts=EVENT_TS, snapshot=SNAPSHOT_DATE)


def _contract(contracts: DataFrame, snapshots: DataFrame) -> DataFrame:
    """Return plan, price, tenure and recent price increases from the contract periods begun before the snapshot."""
    keys = [CUSTOMER_ID, SNAPSHOT_DATE]
    started = F.col("start_date")
    begun = snapshots.select(*keys).join(contracts, CUSTOMER_ID).where(started < F.col(SNAPSHOT_DATE))
    before = F.max(F.struct(started, "plan", "monthly_price"))
    earliest = F.min(started)
    # A price increase starts a new period; what it was before is the price of the period that ended that day.
    dearer = contracts.select(
        CUSTOMER_ID, F.col("end_date").alias("start_date"), F.col("monthly_price").alias("_old_price")
    )
    raised = (
        begun.join(dearer, [CUSTOMER_ID, "start_date"])
        .where((F.col("monthly_price") > F.col("_old_price")) & (started >= F.date_sub(SNAPSHOT_DATE, 90)))
        .groupBy(*keys)
        .agg(F.count("*").cast("int").alias("raises_90"))
    )
    newest = begun.groupBy(*keys).agg(before.alias("_last"), earliest.alias("_first"))
    return newest.join(raised, keys, "left").select(
        *keys,
        F.col("_last.plan").alias("plan"),
        F.col("_last.monthly_price").alias("monthly_price"),
        F.date_diff(SNAPSHOT_DATE, "_first").alias("contract_days"),
        F.coalesce("raises_90", F.lit(0)).alias("raises_90"),
    )


def _person(customers: DataFrame) -> DataFrame:
    """Return who the customer is; case and blanks are typing, and an empty text is no value."""
    typed = [standardised(name).alias(name) for name in ("segment", "region", "age_band")]
    return customers.select(CUSTOMER_ID, "signup_date", *typed)


def _split(rows: DataFrame, days: Sequence[date], config: ChurnConfig) -> DataFrame:
    """Give every labelled row to train, validation or test; rows without a label are ``current``."""
    if config.split.by == "customer":
        return _split_by_customer(rows, config)
    return _split_by_time(rows, days, config)


def _split_by_customer(rows: DataFrame, config: ChurnConfig) -> DataFrame:
    test, validation = config.split.test, config.split.validation
    shares = {"train": 1.0 - test - validation, "validation": validation, "test": test}
    drawn = by_hash(rows, CUSTOMER_ID, shares, seed=config.seed)
    return drawn.withColumn(SPLIT, F.when(F.col(LABEL).isNull(), F.lit("current")).otherwise(F.col(SPLIT)))


def _split_by_time(rows: DataFrame, days: Sequence[date], config: ChurnConfig) -> DataFrame:
    """The newest labelled snapshots test, those before validate.

    A training row stays only when its outcome was known on the first day of the snapshots it is kept apart from;
    otherwise it is ``gap`` and left out.
    """
    test_count, validation_count = int(config.split.test), int(config.split.validation)
    test_start, validation_start = split_starts(days, test_count, validation_count, config.label)
    snapshot, known = F.col(SNAPSHOT_DATE), F.col(OUTCOME_END_DATE)
    split = (
        F.when(F.col(LABEL).isNull(), "current")
        .when(snapshot >= F.lit(test_start), "test")
        .when(known > F.lit(test_start), "gap")
        .when(snapshot >= F.lit(validation_start), "validation")
        .when(known > F.lit(validation_start), "gap")
        .otherwise("train")
    )
    return rows.withColumn(SPLIT, split)


def split_starts(days: Sequence[date], test: int, validation: int, label: LabelConfig) -> tuple[date, date]:
    """Return the first snapshot of test and of validation, such that outcomes of one are known when the next begins.

    Args:
        days: labelled snapshot days, ascending.
        test: number of test snapshots.
        validation: number of validation snapshots.
        label: the windows.

    Raises:
        DataError: there are too few snapshots for three parts.
    """
    reach = timedelta(days=label.gap_days + label.outcome_days)
    before_test = [day for day in days if len(days) >= test and day + reach <= days[-test]]
    before_validation = [day for day in before_test if len(before_test) >= validation] and [
        day for day in before_test if day + reach <= before_test[-validation]
    ]
    if not before_validation:
        raise DataError(
            "SNAPSHOTS_TOO_FEW",
            f"{len(days)} labelled snapshots leave none for training.",
            f"{test} for test, {validation} for validation, and outcomes of {reach.days} days between them.",
            "Raise label.snapshots, shorten label.outcome_days, or set split.by=customer.",
        )
    return days[-test], before_test[-validation]
