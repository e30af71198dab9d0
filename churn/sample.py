"""A subscription business of any size whose churn probabilities are known, so that a model's ceiling is known too.

Every draw is a hash of the seed, the customer, the month and the purpose: the same settings give the same rows on any
cluster, however they are partitioned. Each 30 days every customer decides to leave with a probability that depends only
on what the event tables show of the days before; who decides to leave does so 30 to 59 days later. Labels with a gap of
30 days and an outcome window of 30 days, at snapshots on the decision days, are therefore drawn from exactly the
probabilities in `Sample.truth`; at other snapshots or windows the ceiling is not known.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, Observation, SparkSession, Window
from pyspark.sql import functions as F

from churn import schema
from churn.algorithms.messages import message
from churn.config import ChurnConfig
from churn.schema import CUSTOMER_ID, EVENT_TS, LABEL, SNAPSHOT_DATE
from shared.core.columns import Table
from shared.core.draws import Draw
from shared.core.errors import ConfigError
from shared.core.parallel import in_parallel
from shared.core.run import StepResult
from shared.ingest.source import Format

PERIOD_DAYS = 30
GAP_DAYS = 30
OUTCOME_DAYS = 30
CHURN_PROBABILITY = "churn_probability"
START_DATE = date(2024, 1, 1)

_HISTORY_PERIODS = 3  # the hazard looks back 90 days, so nobody decides before the log is that old
_SLOTS = 4  # a customer uses the service on at most one day of each quarter of a period
_TICKETS = 2  # at most, of a customer in a period
_COMPLAINT_RATE = 0.4  # of tickets
_BASE_RATE = 0.07
# Mean and spread of the signal over customers at risk, measured once; they only place the intercept.
_SIGNAL_MEAN, _SIGNAL_SD = 1.7, 1.37
# Minutes of 30 days over customers at risk: spread, and days of use; they only scale a planted drift.
_MINUTES_SD, _USE_DAYS = 115.0, 2.2

FILES: dict[str, tuple[Table, Format]] = {
    "customers": (schema.CUSTOMERS, "csv"),
    "subscriptions": (schema.SUBSCRIPTIONS, "csv"),
    "usage": (schema.USAGE, "parquet"),
    "payments": (schema.PAYMENTS, "csv"),
    "support": (schema.SUPPORT, "json"),
}
"""Folder of each table that `write_files` writes, and its format (`json` is JSON lines, `csv` has a header)."""


def sample(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Write the embedded data to `folder` once; a run with a source of its own, or of another shape, needs none."""
    if config.source is not None or config.shape != "subscriptions":
        return StepResult({"rows_written": 0})
    size = config.sample
    settings = Settings(
        size.customers,
        size.days,
        config.seed,
        size.difficulty,
        drift_day=size.drift_day,
        drift_size=0.0 if size.drift_day is None else size.drift_size,
    )
    manifest = write_files(spark, settings, folder(config))
    return StepResult({"rows_written": sum(table["rows"] for table in manifest["tables"].values())})


def folder(config: ChurnConfig) -> str:
    """Return where the embedded data lie: in the warehouse, beside its tables.

    Raises:
        ConfigError: the warehouse is a catalog, which holds no files.
    """
    if config.warehouse.startswith("catalog:"):
        raise ConfigError(
            "SOURCE_NEEDED", f"{config.warehouse} holds no files.", "A folder for the embedded data.", "Give --source."
        )
    return f"{config.warehouse.rstrip('/')}/raw_churn"


@dataclass(frozen=True)
class Settings:
    """What decides every value of a sample.

    Args:
        customers: number of customers, at least 1.
        days: length of the log, at least 180.
        seed: any whole number.
        difficulty: divides the signal of the hazard: 1 gives a ceiling near AUC 0.87, 2 near 0.74; the churn rate
            stays at 5 to 10 % per snapshot.
        start_date: first day of the log.
        drift_day: day of the log from which a day of use is longer; None for never. Churn follows: the minutes are among
            what customers decide by.
        drift_size: by how many standard deviations of the minutes of 30 days their mean rises.

    Raises:
        ConfigError: a number is out of its range.
    """

    customers: int
    days: int = 540
    seed: int = 0
    difficulty: float = 1.0
    start_date: date = START_DATE
    drift_day: int | None = None
    drift_size: float = 0.0

    def __post_init__(self) -> None:
        if self.customers < 1 or self.days < 6 * PERIOD_DAYS or self.difficulty <= 0:
            raise ConfigError(
                "SAMPLE_INVALID",
                f"A sample of {self.customers} customers, {self.days} days, difficulty {self.difficulty:g}.",
                f"customers >= 1, days >= {6 * PERIOD_DAYS}, difficulty > 0.",
                "Edit sample in the config.",
            )

    @property
    def periods(self) -> int:
        """Whole periods of the log."""
        return self.days // PERIOD_DAYS


@dataclass(frozen=True)
class Sample:
    """Generated tables and the truth behind them; everything is lazy.

    Args:
        tables: rows by table name, with the columns of `churn.schema`.
        truth: one row per decision of a customer in service who has not yet decided to leave: ``customer_id,
            snapshot_date, churn_probability``, ``label`` (null while the outcome is not known), and what the
            probability depends on: ``tenure_days, minutes_30, minutes_90, days_since_use`` (null: none in 90 days),
            ``failed_90, tickets_90, complaints_90, raised_90, plan, segment``. Never an input of a model.
        settings: what it was generated from.
        lives: one row per customer, from which the event tables are made; cached while files are written.
    """

    tables: dict[str, DataFrame]
    truth: DataFrame
    settings: Settings
    lives: DataFrame

    @property
    def as_of_date(self) -> date:
        """The first day without data."""
        return self.settings.start_date + timedelta(days=self.settings.days)

    @property
    def decision_dates(self) -> tuple[date, ...]:
        """Days at which the truth is known, ascending; the last may be the as-of date, where no label is known yet."""
        first, last = _HISTORY_PERIODS, self.settings.periods
        return tuple(_date(self.settings, period) for period in range(first, last + 1))

    @property
    def labelled_dates(self) -> tuple[date, ...]:
        """The decision days whose outcome lies within the data."""
        last = self.as_of_date - timedelta(days=GAP_DAYS + OUTCOME_DAYS)
        return tuple(day for day in self.decision_dates if day <= last)


def generate(spark: SparkSession, settings: Settings) -> Sample:
    """Return the sample of ``settings``.

    Six in ten customers signed up before the log begins, the others during it. About 25 days of use of each are logged.
    """
    draw = Draw(settings.seed)
    decisions = _decisions(_periods(spark, settings, draw), settings, draw)
    lives = _lives(decisions, settings, draw)
    tables = {
        schema.CUSTOMERS.name: _customers(lives, settings),
        schema.SUBSCRIPTIONS.name: _subscriptions(lives, settings),
        schema.USAGE.name: _usage(lives, settings, draw),
        schema.PAYMENTS.name: _payments(lives, settings, draw),
        schema.SUPPORT.name: _support(lives, settings, draw),
    }
    return Sample(tables, _truth(decisions, settings), settings, lives)


def _date(settings: Settings, period: int) -> date:
    return settings.start_date + timedelta(days=PERIOD_DAYS * period)


def _day(settings: Settings, day: Column | str) -> Column:
    return F.date_add(F.lit(settings.start_date), day)


def _moment(settings: Settings, day: Column | str, second: Column) -> Column:
    return F.timestamp_add("SECOND", second, _day(settings, day).cast("timestamp"))


def _with_traits(customers: DataFrame, settings: Settings, draw: Draw) -> DataFrame:
    """Add what a customer is: days are numbered from the start of the log, so an old customer signed up on day -400."""
    old, new = -1 - draw.whole(900, "old_signup", "id"), draw.whole(settings.days, "new_signup", "id")
    plan = draw.uniform("plan", "id")
    drawn = {
        CUSTOMER_ID: F.format_string("C%07d", F.col("id")),
        "signup": F.when(draw.uniform("is_old", "id") < 0.6, old).otherwise(new),
        "plan": F.when(plan < 0.45, "basic").when(plan < 0.8, "standard").otherwise("premium"),
        "segment": F.when(draw.uniform("segment", "id") < 0.75, "consumer").otherwise("business"),
        "region": draw.pick(schema.REGIONS, "region", "id"),
        "age_band": draw.pick(schema.AGE_BANDS, "age_band", "id"),
        "billing_day": draw.whole(28, "billing_day", "id"),
        "raise_period": draw.whole(round(2.5 * settings.periods), "raise_period", "id"),
        "activity": 0.5 + 0.45 * draw.uniform("activity", "id"),
        "level": 3.4 + 0.7 * draw.normal("level", "id"),
        "patience": F.floor(-14 * F.log(1 - draw.uniform("patience", "id"))),
        "refusal_rate": F.when(draw.uniform("card", "id") < 0.1, 0.35).otherwise(0.03),
        "ticket_rate": 0.14 * F.exp(0.9 * draw.normal("tickets", "id") - 0.4),
    }
    list_price = F.when(F.col("plan") == "basic", 12.0).when(F.col("plan") == "standard", 25.0).otherwise(45.0)
    raise_day = PERIOD_DAYS * F.col("raise_period") + F.col("billing_day")
    derived = {
        "price": F.round(list_price * (0.9 + 0.2 * draw.uniform("price", "id")), 2),
        # The one price increase; who would have been with us for less than two periods is spared it.
        "raise_day": F.when(raise_day >= F.col("signup") + 2 * PERIOD_DAYS, raise_day),
        "fade_period": F.greatest(F.floor(F.col("signup") / PERIOD_DAYS), F.lit(0)) + 1 + F.col("patience"),
    }
    raised_price = F.round(F.col("price") * (1.1 + 0.2 * draw.uniform("raise", "id")), 2)
    return customers.withColumns(drawn).withColumns(derived).withColumn("raised_price", raised_price)


# What happens in a period. The monthly sums behind the hazard and the event tables call the same functions.


def _fade() -> Column:
    """Share of the old habit that is left, once a customer has begun to lose interest."""
    return F.pow(F.lit(0.6), F.greatest(F.col("period") - F.col("fade_period"), F.lit(0)))


def _use_day(draw: Draw, slot: Column) -> Column:
    """Day of use in a quarter of the period; null when there is none."""
    first, length = PERIOD_DAYS * F.col("period") + F.floor(7.5 * slot), 7 + slot % 2
    day = (first + F.floor(length * draw.uniform("use_day", "id", "period", slot))).cast("int")
    is_used = draw.uniform("use", "id", "period", slot) < F.greatest(F.col("activity") * _fade(), F.lit(0.06))
    return F.when(is_used & (day >= F.col("signup")), day)


def _minutes(settings: Settings, draw: Draw, slot: Column) -> Column:
    noise = 1.8 * (draw.uniform("minutes", "id", "period", slot) - 0.5)
    minutes = F.floor(10 + 10 * F.exp(F.col("level") + noise) * _fade()) / 10  # tenths, at least 1
    if settings.drift_day is None:
        return minutes
    longer = round(settings.drift_size * _MINUTES_SD / _USE_DAYS, 1)
    return F.when(_use_day(draw, slot) >= settings.drift_day, minutes + longer).otherwise(minutes)


def _payment_day() -> Column:
    day = PERIOD_DAYS * F.col("period") + F.col("billing_day")
    return F.when(day >= F.col("signup"), day)


def _is_refused(draw: Draw) -> Column:
    return draw.uniform("refused", "id", "period") < F.col("refusal_rate")


def _ticket_day(draw: Draw, number: Column) -> Column:
    """Day of the first or second ticket of the period; null when there are fewer."""
    rate = F.col("ticket_rate")
    # Poisson by its distribution function, cut at two.
    beyond = 1 - F.exp(-rate) * (1 + number * rate)
    day = PERIOD_DAYS * F.col("period") + draw.whole(PERIOD_DAYS, "ticket_day", "id", "period", number)
    return F.when((draw.uniform("ticket", "id", "period") < beyond) & (day >= F.col("signup")), day)


def _is_complaint(draw: Draw, number: Column) -> Column:
    return draw.uniform("is_complaint", "id", "period", number) < _COMPLAINT_RATE


def _periods(spark: SparkSession, settings: Settings, draw: Draw) -> DataFrame:
    """Return one row per customer and period with the sums that the hazard reads."""
    slots = [F.lit(slot) for slot in range(_SLOTS)]
    use_days = [_use_day(draw, slot) for slot in slots]
    minutes = [
        F.when(day.isNotNull(), _minutes(settings, draw, slot)).otherwise(0.0)
        for day, slot in zip(use_days, slots, strict=True)
    ]
    numbers = [F.lit(number) for number in range(_TICKETS)]
    tickets = [_ticket_day(draw, number).isNotNull() for number in numbers]
    complaints = [is_one & _is_complaint(draw, number) for is_one, number in zip(tickets, numbers, strict=True)]
    raised = F.coalesce(F.floor(F.col("raise_day") / PERIOD_DAYS) == F.col("period"), F.lit(False))
    # One shuffle of the customers serves every window over their periods; after the explode it would be many rows.
    traits = _with_traits(spark.range(settings.customers), settings, draw).repartition("id")
    periods = traits.withColumn("period", F.explode(F.sequence(F.lit(0), F.lit(settings.periods))))
    return periods.select(
        "*",
        sum(minutes[1:], minutes[0]).alias("minutes"),
        F.greatest(*use_days).alias("last_use_day"),
        (_payment_day().isNotNull() & _is_refused(draw)).cast("int").alias("failed"),
        _count(tickets).alias("tickets"),
        _count(complaints).alias("complaints"),
        raised.cast("int").alias("raised"),
    )


def _count(conditions: Sequence[Column]) -> Column:
    counts = [condition.cast("int") for condition in conditions]
    return sum(counts[1:], counts[0])


def _decisions(periods: DataFrame, settings: Settings, draw: Draw) -> DataFrame:
    """Add the history before each decision, its probability, and the period in which the customer decides to leave."""
    customer = Window.partitionBy("id")
    before = customer.orderBy("period").rowsBetween(-_HISTORY_PERIODS, -1)
    last = customer.orderBy("period").rowsBetween(-1, -1)
    today = PERIOD_DAYS * F.col("period")
    may_decide = (F.col("period") >= _HISTORY_PERIODS) & (F.col("signup") < today)
    probability = F.when(may_decide, _probability(settings.difficulty))
    leaves = draw.uniform("leaves", "id", "period") < F.col(CHURN_PROBABILITY)
    history = {
        "tenure_days": today - F.col("signup"),
        "minutes_30": F.round(F.coalesce(F.sum("minutes").over(last), F.lit(0.0)), 1),
        "minutes_90": F.round(F.coalesce(F.sum("minutes").over(before), F.lit(0.0)), 1),
        "days_since_use": (today - F.max("last_use_day").over(before)).cast("int"),
        **{f"{name}_90": F.sum(name).over(before) for name in ("failed", "tickets", "complaints", "raised")},
    }
    first_notice = F.min(F.when(leaves, F.col("period"))).over(customer)
    decided = periods.withColumns(history).withColumn(CHURN_PROBABILITY, probability)
    return decided.withColumn("notice_period", first_notice)


def _probability(difficulty: float) -> Column:
    """Return the chance to decide to leave, from what the event tables show of the 90 days before."""
    # The mean of a logistic of a normal is near the logistic of its mean shrunk by the root (MacKay 1992), which keeps
    # the churn rate where it is while the signal is scaled.
    shrink = math.sqrt(1 + math.pi / 8 * (_SIGNAL_SD / difficulty) ** 2)
    intercept = math.log(_BASE_RATE / (1 - _BASE_RATE)) * shrink - _SIGNAL_MEAN / difficulty
    return F.round(1 / (1 + F.exp(-(intercept + _signal() / difficulty))), 9)


def _signal() -> Column:
    tenure, failed = F.col("tenure_days"), F.col("failed_90")
    is_settled, is_basic = tenure >= 90, F.col("plan") == "basic"
    steady = F.least(3 * F.col("minutes_30") / F.greatest(F.col("minutes_90"), F.lit(1.0)), F.lit(1.0))
    fading = F.when(is_settled, 1.8 * (1 - steady)).otherwise(0.6)
    absent = F.when(is_settled & F.coalesce(F.col("days_since_use") > 14, F.lit(True)), 0.9).otherwise(0.0)
    quiet = F.when(is_settled, 0.3 * F.greatest(5.0 - F.log1p("minutes_30"), F.lit(0.0))).otherwise(0.2)
    # High in the first half year, low for two years, then rising again as offers of others look better.
    ageing = F.least(1.2 * F.exp(-tenure / 100) + F.greatest((tenure - 600) / 500, F.lit(0.0)), F.lit(1.2))
    refused = F.least(failed, F.lit(2)) * F.when(is_basic, 1.3).otherwise(0.5)
    # What they say counts, not that they ask.
    annoyed = 1.6 * F.least(F.col("complaints_90"), F.lit(2))
    dearer = 0.9 * F.least(F.col("raised_90"), F.lit(1))
    tariff = F.when(is_basic, 0.4).when(F.col("plan") == "premium", -0.4).otherwise(0.0)
    business = F.when(F.col("segment") == "business", -0.4).otherwise(0.0)
    return fading + absent + quiet + ageing + refused + annoyed + dearer + tariff + business


def _lives(decisions: DataFrame, settings: Settings, draw: Draw) -> DataFrame:
    """Return one row per customer: its traits and ``end``, the first day out of service; null when after the log."""
    notice = F.col("notice_period")
    end = PERIOD_DAYS * notice + GAP_DAYS + draw.whole(OUTCOME_DAYS, "end", "id")
    known = decisions.where(F.col("period") == 0).withColumn("end", F.when(end <= settings.days, end))
    return known.withColumn("until", F.coalesce("end", F.lit(settings.days))).drop("period", "notice_period")


def _each_period(lives: DataFrame, settings: Settings) -> DataFrame:
    return lives.withColumn("period", F.explode(F.sequence(F.lit(0), F.lit(settings.periods))))


def _customers(lives: DataFrame, settings: Settings) -> DataFrame:
    signup = _day(settings, "signup").alias("signup_date")
    return lives.select(CUSTOMER_ID, signup, "segment", "region", "age_band")


def _subscriptions(lives: DataFrame, settings: Settings) -> DataFrame:
    """One period at one price; a raise during the service ends it and begins the second."""
    raised = F.when(F.col("raise_day") < F.col("until"), F.col("raise_day"))
    first = F.struct(F.lit(1).alias("number"), F.col("signup").alias("from"), "price")
    second = F.struct(F.lit(2).alias("number"), F.col("raise_day").alias("from"), F.col("raised_price").alias("price"))
    parts = F.when(raised.isNull(), F.array(first)).otherwise(F.array(first, second))
    last_day = F.when((F.col("part.number") == 1) & raised.isNotNull(), raised).otherwise(F.col("end"))
    return lives.withColumn("part", F.explode(parts)).select(
        F.concat_ws("-", CUSTOMER_ID, "part.number").alias("subscription_id"),
        CUSTOMER_ID,
        _day(settings, "part.from").alias("start_date"),
        _day(settings, last_day).alias("end_date"),
        "plan",
        F.col("part.price").alias("monthly_price"),
    )


def _usage(lives: DataFrame, settings: Settings, draw: Draw) -> DataFrame:
    slots = F.explode(F.sequence(F.lit(0), F.lit(_SLOTS - 1)))
    keys = ("id", "period", "slot")
    days = _each_period(lives, settings).withColumn("slot", slots).withColumn("day", _use_day(draw, F.col("slot")))
    second = 6 * 3600 + draw.whole(16 * 3600, "use_second", *keys)
    minutes = _minutes(settings, draw, F.col("slot"))
    return days.where(F.col("day") < F.col("until")).select(
        CUSTOMER_ID,
        _moment(settings, "day", second).alias(EVENT_TS),
        (1 + F.floor(minutes / 20 * draw.uniform("sessions", *keys))).cast("int").alias("sessions"),
        minutes.alias("minutes"),
    )


def _payments(lives: DataFrame, settings: Settings, draw: Draw) -> DataFrame:
    due = _each_period(lives, settings).withColumn("day", _payment_day()).where(F.col("day") < F.col("until"))
    is_raised = F.coalesce(F.col("day") >= F.col("raise_day"), F.lit(False))
    return due.select(
        F.format_string("P%07d-%03d", F.col("id"), F.col("period")).alias("payment_id"),
        CUSTOMER_ID,
        _moment(settings, "day", draw.whole(4 * 3600, "payment_second", "id", "period")).alias(EVENT_TS),
        F.when(is_raised, F.col("raised_price")).otherwise(F.col("price")).alias("amount"),
        _is_refused(draw).alias("is_failed"),
    )


def _support(lives: DataFrame, settings: Settings, draw: Draw) -> DataFrame:
    keys = ("id", "period", "number")
    numbered = _each_period(lives, settings).withColumn("number", F.explode(F.sequence(F.lit(0), F.lit(_TICKETS - 1))))
    tickets = numbered.withColumn("day", _ticket_day(draw, F.col("number"))).where(F.col("day") < F.col("until"))
    weight = draw.uniform("severity", *keys)
    is_complaint, channel = _is_complaint(draw, F.col("number")), draw.pick(schema.CHANNELS, "channel", *keys)
    is_noted = is_complaint | (channel != "phone") | (draw.uniform("note", *keys) < 0.5)
    return tickets.select(
        F.format_string("T%07d-%03d-%d", *keys).alias("ticket_id"),
        CUSTOMER_ID,
        _moment(settings, "day", 6 * 3600 + draw.whole(16 * 3600, "ticket_second", *keys)).alias(EVENT_TS),
        F.when(weight < 0.45, 1).when(weight < 0.75, 2).when(weight < 0.92, 3).otherwise(4).alias("severity"),
        channel.alias("channel"),
        # Of half the calls without a complaint nobody takes a note.
        F.when(is_noted, message(draw, is_complaint, *keys)).alias("message"),
    )


def _truth(decisions: DataFrame, settings: Settings) -> DataFrame:
    period, notice = F.col("period"), F.col("notice_period")
    is_known = PERIOD_DAYS * period + GAP_DAYS + OUTCOME_DAYS <= settings.days
    leaves = F.coalesce(notice == period, F.lit(False)).cast("int")
    open_decisions = decisions.where(F.col(CHURN_PROBABILITY).isNotNull() & (notice.isNull() | (notice >= period)))
    return open_decisions.select(
        CUSTOMER_ID,
        _day(settings, (PERIOD_DAYS * period).cast("int")).alias(SNAPSHOT_DATE),
        CHURN_PROBABILITY,
        F.when(is_known, leaves).alias(LABEL),
        *("tenure_days", "minutes_30", "minutes_90", "days_since_use", "failed_90", "tickets_90", "complaints_90"),
        *("raised_90", "plan", "segment"),
    )


@dataclass(frozen=True)
class _Damage:
    """A value (SQL) no reader may let through; a few rows are written a second time with it."""

    folder: str
    column: str
    value: str
    reason: str


_VERSION = 2  # of the rows that the settings stand for; raise it when they change, or old files are taken for new
_DAMAGE_RATE = 0.002
_DAMAGES = (
    _Damage("customers", CUSTOMER_ID, "''", "customer_id is blank"),
    _Damage("customers", "signup_date", "'31/02/2024'", "signup_date is not a date"),
    _Damage("subscriptions", "end_date", "date_sub(start_date, 9)", "end_date is before start_date"),
    _Damage("usage", "minutes", "-minutes", "minutes is negative"),
    _Damage("payments", "amount", "'n/a'", "amount is not a number"),
    _Damage("support", "severity", "9", "severity is out of range"),
)
"""Each is a further row with its own key: what is left after quarantine is the table without damage."""


def write_files(spark: SparkSession, settings: Settings, path: str) -> dict[str, Any]:
    """Write the sample of ``settings`` to ``path`` as the raw files of a source, and return the manifest.

    `FILES` names the folder and format of each table; ``truth`` (Parquet) holds the truth. In ``customers`` a few
    values of segment and region differ in case or carry blanks, and a few of region and age_band are missing. Broken
    rows come on top of the good ones; the manifest counts both, per table and reason. The manifest is written last:
    a folder that already holds the same sample is left as it is.

    Args:
        spark: the session.
        settings: what to write.
        path: local path or URI.

    Returns:
        ``{"settings": {…}, "tables": {"customers": {"rows": …, "broken": {reason: rows}}, …}}``; ``rows`` holds both.
    """
    noted = {**asdict(settings), "start_date": settings.start_date.isoformat(), "version": _VERSION}
    if settings.drift_day is None:  # as it was noted before there was drift
        del noted["drift_day"], noted["drift_size"]
    written = _read_manifest(spark, path)
    if written.get("settings") == noted:
        return written
    made = generate(spark, settings)
    _write_manifest(spark, path, {})
    made.lives.persist()
    try:
        made.lives.count()  # once, not by each of those who read it below
        writes: list[Callable[[], Any]] = [partial(_write_table, made, name, path) for name in FILES]
        writes.append(partial(made.truth.write.mode("overwrite").parquet, f"{path}/truth"))
        tables = dict(zip(FILES, in_parallel(spark, writes), strict=False))
    finally:
        made.lives.unpersist()
    manifest: dict[str, Any] = {"settings": noted, "tables": tables}
    _write_manifest(spark, path, manifest)
    return manifest


def _write_table(made: Sample, name: str, path: str) -> dict[str, Any]:
    table, form = FILES[name]
    draw, good = Draw(made.settings.seed), made.tables[table.name]
    rows = _dirty(good, draw) if name == "customers" else good
    damages = [damage for damage in _DAMAGES if damage.folder == name]
    counted = Observation(name)
    counts = [F.count_if(F.col("_reason") == damage.reason).alias(damage.reason) for damage in damages]
    raw = _with_broken(rows, table, form, damages, draw).observe(counted, F.count(F.lit(1)).alias("rows"), *counts)
    options = {"header": True} if form == "csv" else {}
    raw.drop("_reason").write.mode("overwrite").options(**options).format(form).save(f"{path}/{name}")
    return {"rows": counted.get["rows"], "broken": {damage.reason: counted.get[damage.reason] for damage in damages}}


def _with_broken(rows: DataFrame, table: Table, form: str, damages: Sequence[_Damage], draw: Draw) -> DataFrame:
    """Add the broken rows and `_reason`, null for the good ones; columns are text for CSV, where types may not hold."""
    key = table.key or (CUSTOMER_ID, EVENT_TS)
    reasons = [F.when(draw.uniform(d.reason, *key) < _DAMAGE_RATE, F.lit(d.reason)) for d in damages]
    copies = F.concat(F.array(F.lit("")), F.array_compact(F.array(*reasons)))
    copied = rows.withColumn("_reason", F.explode(copies)).withColumn("_reason", F.nullif("_reason", F.lit("")))

    def value(name: str) -> Column:
        kept = F.col(name).cast("string") if form == "csv" else F.col(name)
        if name in table.key:
            kept = F.when(F.col("_reason").isNotNull(), F.concat(kept, F.lit("-x"))).otherwise(kept)
        for damage in damages:
            if damage.column == name:
                broken = F.expr(damage.value).cast(kept_type(name))
                kept = F.when(F.col("_reason") == damage.reason, broken).otherwise(kept)
        return kept.alias(name)

    def kept_type(name: str) -> str:
        return "string" if form == "csv" else table.column(name).type

    return copied.select(*[value(name) for name in rows.columns], "_reason")


def _dirty(customers: DataFrame, draw: Draw) -> DataFrame:
    chance = {name: draw.uniform(f"dirty.{name}", CUSTOMER_ID) for name in ("segment", "region", "age_band")}
    padded = {name: F.concat(F.initcap(name), F.lit(" ")) for name in ("segment", "region")}
    typed = {
        name: F.when(chance[name] < 0.02, F.upper(name)).when(chance[name] < 0.04, padded[name]) for name in padded
    }
    return customers.withColumns(
        {
            "segment": F.coalesce(typed["segment"], F.col("segment")),
            "region": F.when(chance["region"] > 0.98, "").otherwise(F.coalesce(typed["region"], F.col("region"))),
            "age_band": F.when(chance["age_band"] >= 0.05, F.col("age_band")),
        }
    )


def _read_manifest(spark: SparkSession, path: str) -> dict[str, Any]:
    try:
        text = spark.read.text(f"{path}/manifest", wholetext=True).collect()
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        return {}
    return dict(json.loads(text[0][0])) if text else {}


def _write_manifest(spark: SparkSession, path: str, manifest: dict[str, Any]) -> None:
    line = spark.range(1).select(F.lit(json.dumps(manifest)).alias("value"))
    line.write.mode("overwrite").text(f"{path}/manifest")


def log_ends(config: ChurnConfig) -> tuple[date, date] | None:
    """Return the first day of the embedded data and the first day without; None when there is a source."""
    return None if config.source is not None else (START_DATE, START_DATE + timedelta(days=config.sample.days))
