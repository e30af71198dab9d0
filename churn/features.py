"""Features of a customer on a snapshot day, for every shape of source, as one table with label and split.

Only the observation window before the snapshot is seen, and how long ago a customer came. Row-wise features are plain
columns here; what learns from training rows (medians, levels, knots) is fitted in `churn.train` and nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn import sample as generator
from churn import schema
from churn.algorithms import labels, own_tables
from churn.config import LATER_SETTINGS, ChurnConfig, LabelConfig
from churn.ingest import tables_of
from churn.schema import CUSTOMER_ID, EVENT_TS, LABEL, OUTCOME_END_DATE, OUTCOME_START_DATE, SNAPSHOT_DATE
from shared.core.errors import DataError
from shared.core.run import KEPT_FROM, StepResult
from shared.delta import lineage
from shared.delta.made_from import fingerprint, note, noted
from shared.delta.read import latest_version, read
from shared.delta.tables import TableRef, Warehouse
from shared.delta.write import overwrite
from shared.features import windows
from shared.features.split import by_hash
from shared.features.text import standardised
from shared.features.tf_idf import words_of
from shared.features.windows import WindowFeature, ratio
from shared.features.words import WordsConfig

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
    builders = {"customers": _of_customers, "purchases": _of_purchases, "subscriptions": _of_subscriptions}
    build = builders[config.shape]
    refs = [warehouse.table(table.name) for table in tables_of(config)]
    reads = [(ref, latest_version(spark, ref)) for ref in refs]
    rows, facts = build(config, {ref.label: read(spark, ref, version) for ref, version in reads})
    table = warehouse.table(FEATURES)
    lineage.record(spark, warehouse, run_id, "features", reads)  # before the note, which says that all is done
    made = note(_made_from(spark, config), {ref.label: version for ref, version in reads}, run_id=run_id, facts=facts)
    overwrite(rows, table, schema_may_change=True, note=made)
    return _result(spark, table, facts)


def kept_features(spark: SparkSession, config: ChurnConfig) -> StepResult | None:
    """Return the result of the step that made the feature table, when what it read, settings and code are the same."""
    table = Warehouse(config.warehouse).table(FEATURES)
    made = noted(spark, table, _made_from(spark, config))
    return None if made is None else _result(spark, table, {**made["facts"], KEPT_FROM: made["run_id"]})


def _made_from(spark: SparkSession, config: ChurnConfig) -> str:
    return fingerprint(spark, "churn", config.model_dump(mode="json", exclude=LATER_SETTINGS))


def _result(spark: SparkSession, table: TableRef, facts: Mapping[str, Any]) -> StepResult:
    stored = read(spark, table)
    counts = {row[SPLIT]: row["count"] for row in stored.groupBy(SPLIT).count().collect()}
    rows = sum(counts.values())
    inputs = len(stored.columns) - len(BOOKKEEPING)
    return StepResult(
        {"rows_written": rows, "features": inputs, **facts, "split": counts},
        tables={FEATURES: {"path": table.path, "version": latest_version(spark, table), "rows": rows}},
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
    """Return ``customer_id, label`` with 1 for Yes and 0 for No; raises DataError like `own_tables.label_of`."""
    return own_tables.label_of(customers, _YES_NO_LABEL, ["Yes"], ["No"])


def _of_customers(config: ChurnConfig, tables: Mapping[str, DataFrame]) -> tuple[DataFrame, dict[str, int]]:
    customers, data = tables[schema.TELCO.name], config.data
    if data is None:
        labelled = of_telco(customers).join(telco_label(customers), CUSTOMER_ID)
    else:
        own = own_tables.features_of(customers, data, config.words)
        labelled = own.join(own_tables.label_of(customers, data.label, data.positive, data.negative), CUSTOMER_ID)
    undated = {name: F.lit(None).cast("date") for name in (SNAPSHOT_DATE, OUTCOME_START_DATE, OUTCOME_END_DATE)}
    return _split_by_customer(labelled.withColumns(undated), config), {}


def _of_purchases(config: ChurnConfig, tables: Mapping[str, DataFrame]) -> tuple[DataFrame, dict[str, int]]:
    purchases = tables[schema.PURCHASES.name]
    snapshots, days, facts = _snapshots(purchases, purchases, config, "inactive")
    return _split(of_purchases(purchases, snapshots, config.label), days, config), facts


def _of_subscriptions(config: ChurnConfig, tables: Mapping[str, DataFrame]) -> tuple[DataFrame, dict[str, int]]:
    contracts = tables[schema.SUBSCRIPTIONS.name]
    snapshots, days, facts = _snapshots(contracts, tables[schema.USAGE.name], config, "ended")
    return _split(of_subscriptions(tables, snapshots, config.label, config.words), days, config), facts


def of_purchases(purchases: DataFrame, snapshots: DataFrame, label: LabelConfig) -> DataFrame:
    """Return recency, frequency, monetary value, trends and gaps of buyers in the observation window of their snapshots.

    Columns of ``snapshots`` are kept. Amounts are in the currency of the source, recency and gaps in days. A log without
    an amount has that of unit price times quantity, if it has these; what it lacks has no features.
    """
    if "unit_price" in purchases.columns and "amount" not in purchases.columns:
        pieces = F.col("quantity") if "quantity" in purchases.columns else F.lit(1)
        purchases = purchases.withColumn("amount", F.col("unit_price") * pieces)
    whole, far, near = label.observation_days, max(label.observation_days // 2, 1), max(label.observation_days // 4, 1)
    wanted = [
        WindowFeature("days_since_last", "days_since_last", days=whole),
        WindowFeature("days_since_first", "days_since_first", days=whole),
        WindowFeature("purchases", "count", days=whole),
        WindowFeature("purchase_days", "distinct_days", days=whole),
        WindowFeature("amount", "sum", "amount", days=whole),
        WindowFeature("amount_mean", "mean", "amount", days=whole),
        WindowFeature("amount_max", "max", "amount", days=whole),
        WindowFeature("quantity", "sum", "quantity", days=whole),
        WindowFeature("purchases_near", "count", days=near),
        WindowFeature("purchases_far", "count", days=far),
        WindowFeature("amount_near", "sum", "amount", days=near),
        WindowFeature("amount_far", "sum", "amount", days=far),
    ]
    wanted = [feature for feature in wanted if feature.value is None or feature.value in purchases.columns]
    return (
        snapshots.join(_as_of(purchases, snapshots, wanted), [CUSTOMER_ID, SNAPSHOT_DATE])
        .join(_gaps(purchases, snapshots, whole), [CUSTOMER_ID, SNAPSHOT_DATE], "left")
        .withColumn("purchase_trend", ratio(F.col("purchases_near"), F.col("purchases_far")))
        .withColumn("gap_ratio", ratio(F.col("days_since_last"), F.col("median_gap_days")))
    )


def of_subscriptions(
    tables: Mapping[str, DataFrame], snapshots: DataFrame, label: LabelConfig, words: WordsConfig
) -> DataFrame:
    """Return usage, payment, support, contract and customer features of subscribers as of their snapshots.

    ``_30`` and ``_90`` are windows of so many days, cut to the observation window; so are the gaps between days of use.
    ``messages_90`` are the words of all messages to support.
    """
    month, quarter = min(30, label.observation_days), min(90, label.observation_days)
    usage, payments, support = (tables[table.name] for table in (schema.USAGE, schema.PAYMENTS, schema.SUPPORT))
    of_usage = [
        WindowFeature("days_since_use", "days_since_last", days=quarter),
        WindowFeature("use_days_30", "count", days=month),
        WindowFeature("use_days_90", "count", days=quarter),
        WindowFeature("minutes_30", "sum", "minutes", days=month),
        WindowFeature("minutes_90", "sum", "minutes", days=quarter),
    ]
    of_support = [
        WindowFeature("tickets_30", "count", days=month),
        WindowFeature("tickets_90", "count", days=quarter),
        WindowFeature("severity_90", "max", "severity", days=quarter),
        WindowFeature("messages_90", "texts", "message", days=quarter),
    ]
    of_payments = [WindowFeature("failed_90", "count", days=quarter)]
    keys = [CUSTOMER_ID, SNAPSHOT_DATE]
    return (
        snapshots.join(_as_of(usage, snapshots, of_usage), keys)
        .join(_gaps(usage, snapshots, label.observation_days), keys, "left")
        .join(_as_of(payments.where("is_failed"), snapshots, of_payments), keys)
        .join(_as_of(support, snapshots, of_support), keys)
        .join(_contract(tables[schema.SUBSCRIPTIONS.name], snapshots, quarter), keys)
        .join(_person(tables[schema.CUSTOMERS.name]), CUSTOMER_ID, "left")
        .withColumn("minutes_trend", ratio(F.col("minutes_30") * 3, F.col("minutes_90")))
        .withColumn("gap_ratio", ratio(F.col("days_since_use"), F.col("median_gap_days")))
        .withColumn("failed_90_basic", F.when(F.col("plan") == "basic", F.col("failed_90")).otherwise(0))
        .withColumn("messages_90", words_of("messages_90", words))
        .withColumn("tenure_days", F.date_diff(SNAPSHOT_DATE, "signup_date"))
        .drop("signup_date")
    )


def log_ends(activity: DataFrame, config: ChurnConfig) -> tuple[date, date]:
    """Return the first day of the log and the day after its last; events that came by a stream make the embedded one longer.

    Raises:
        DataError: there is no event.
    """
    made, seen = generator.log_ends(config), labels.observed(activity)
    return seen if made is None else (made[0], max(made[1], seen[1]))


def _snapshots(
    facts: DataFrame, activity: DataFrame, config: ChurnConfig, rule: labels.Rule
) -> tuple[DataFrame, list[date], dict[str, int]]:
    """Return the customers at risk on every snapshot, the labelled days and counts.

    Those to score now, whose outcome nobody knows, have no label.
    """
    label = config.label
    as_of, dates = snapshot_days(label, *log_ends(activity, config))
    lengths = labels.LabelWindows(label.observation_days, label.gap_days, label.outcome_days)
    built = labels.snapshots(facts, lengths, dates, as_of, rule=rule)
    built = replace(built, candidates=built.candidates.cache())  # counted here, then joined with every feature
    counts = built.counts()
    known = sum(count.labelled for count in counts)
    if not known:
        raise DataError(
            "OUTCOME_UNKNOWN",
            f"None of the snapshots from {dates[0]} to {as_of} has a known outcome; {label.snapshots - len(dates)} were dropped.",
            f"{label.gap_days + label.outcome_days} days of data after a snapshot.",
            "Shorten label.outcome_days or label.observation_days, or take more snapshots.",
        )
    rows = built.candidates.where(F.col(LABEL).isNotNull() | (F.col(SNAPSHOT_DATE) == F.lit(as_of)))
    days = [count.snapshot_date for count in counts if count.labelled]
    return (
        rows,
        days,
        {
            "labelled": known,
            "churned": sum(count.positives for count in counts),
            "outcome_unknown": sum(count.unknown for count in counts[:-1]),
            "snapshots_dropped": label.snapshots - len(dates),
        },
    )


def snapshot_days(label: LabelConfig, begin: date, end: date) -> tuple[date, tuple[date, ...]]:
    """Return the as-of day, and the snapshot days up to it whose observation window lies within the log, ascending.

    Args:
        label: the windows.
        begin: first day of the log.
        end: first day after it.

    Raises:
        DataError: the as-of day lies after the log, or the log is shorter than the observation window.

    >>> snapshot_days(LabelConfig(observation_days=90, snapshots=4), date(2024, 1, 1), date(2024, 5, 1))
    (datetime.date(2024, 5, 1), (datetime.date(2024, 4, 1), datetime.date(2024, 5, 1)))
    """
    as_of = label.as_of or end
    if as_of > end:
        raise DataError(
            "AS_OF_AFTER_DATA",
            f"label.as_of is {as_of}, and the newest event is of {end - timedelta(days=1)}.",
            f"At most {end}: later nothing is known, and silence would be taken for churn.",
            "Correct label.as_of, or leave it out.",
        )
    every = labels.snapshot_dates(as_of, label.snapshots, label.every_days)
    whole = tuple(day for day in every if day - timedelta(days=label.observation_days) >= begin)
    if not whole:
        raise DataError(
            "LOG_TOO_SHORT",
            f"The log begins on {begin}, less than {label.observation_days} days before {as_of}.",
            "label.observation_days of log before a snapshot.",
            "Shorten label.observation_days.",
        )
    return as_of, whole


def _as_of(events: DataFrame, snapshots: DataFrame, wanted: Sequence[WindowFeature]) -> DataFrame:
    keys = snapshots.select(CUSTOMER_ID, SNAPSHOT_DATE)
    return windows.aggregate_as_of(events, keys, wanted, entity=CUSTOMER_ID, event_ts=EVENT_TS, snapshot=SNAPSHOT_DATE)


def _gaps(events: DataFrame, snapshots: DataFrame, days: int) -> DataFrame:
    keys = snapshots.select(CUSTOMER_ID, SNAPSHOT_DATE)
    names = {"entity": CUSTOMER_ID, "event_ts": EVENT_TS, "snapshot": SNAPSHOT_DATE}
    return windows.gap_features(events, keys, **names, days=days)


def _contract(contracts: DataFrame, snapshots: DataFrame, days: int) -> DataFrame:
    """Return plan, price, time under contract and price increases of the last ``days``, from the periods begun before."""
    keys = [CUSTOMER_ID, SNAPSHOT_DATE]
    started = F.col("start_date")
    begun = snapshots.select(*keys).join(contracts, CUSTOMER_ID).where(started < F.col(SNAPSHOT_DATE))
    before = F.max(F.struct(started, "plan", "monthly_price"))
    earliest = F.min(started)
    # A price increase starts a new period; what it was before is the price of the period that ended that day.
    dearer = contracts.select(
        CUSTOMER_ID, F.col("end_date").alias("start_date"), F.col("monthly_price").alias("_old_price")
    )
    is_recent = started >= F.date_sub(SNAPSHOT_DATE, days)
    raised = (
        begun.join(dearer, [CUSTOMER_ID, "start_date"])
        .where((F.col("monthly_price") > F.col("_old_price")) & is_recent)
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
