"""The label factory: snapshots of customers, and what became of each of them, from an event log.

A snapshot on day ``s`` sees the days ``[s - observation, s)`` and asks about the days
``[s + gap, s + gap + outcome)``; every window holds its first day and not its last, so nothing of the snapshot day
itself is seen. A customer whose outcome window reaches beyond the data is neither a churner nor a stayer: the label is
null, the row is left out of the labelled rows, and it is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from churn.schema import CUSTOMER_ID, EVENT_TS, LABEL, OUTCOME_END_DATE, OUTCOME_START_DATE, SNAPSHOT_DATE
from shared.core.errors import ConfigError, DataError
from shared.features.point_in_time import utc_date

Rule = Literal["inactive", "ended"]


@dataclass(frozen=True)
class LabelWindows:
    """Lengths of the three windows of a snapshot, in days.

    Args:
        observation_days: days before the snapshot in which a customer must have been active; at least 1.
        gap_days: days between the snapshot and the outcome window, left for acting on a score; at least 0.
        outcome_days: length of the outcome window; at least 1.

    Raises:
        ConfigError: a length is out of its range.

    >>> LabelWindows(90, 30, 30).outcome(date(2024, 1, 31))
    (datetime.date(2024, 3, 1), datetime.date(2024, 3, 31))
    """

    observation_days: int
    gap_days: int
    outcome_days: int

    def __post_init__(self) -> None:
        if self.observation_days < 1 or self.gap_days < 0 or self.outcome_days < 1:
            raise ConfigError(
                "WINDOWS_INVALID",
                f"Label windows are {self}.",
                "observation_days >= 1, gap_days >= 0 and outcome_days >= 1.",
                "Edit the windows under label in the config.",
            )

    def outcome(self, snapshot_date: date) -> tuple[date, date]:
        """Return the first day of the outcome window and the day after its last."""
        start = snapshot_date + timedelta(days=self.gap_days)
        return start, start + timedelta(days=self.outcome_days)


@dataclass(frozen=True)
class LabelCounts:
    """What became of the customers of one snapshot; ``at_risk = labelled + unknown``.

    Args:
        snapshot_date: day of the snapshot.
        at_risk: customers the snapshot asks about.
        labelled: those whose outcome is known.
        unknown: those left out because the data end before their outcome window does.
        positives: labelled customers who churned.
    """

    snapshot_date: date
    at_risk: int
    labelled: int
    unknown: int
    positives: int


@dataclass(frozen=True)
class Snapshots:
    """Customers at risk on several days, and their labels.

    Args:
        candidates: every customer at risk: ``customer_id, snapshot_date, label, outcome_start_date, outcome_end_date``;
            ``label`` is int, 1 for churn, null while the outcome is not known. One row per customer and snapshot.
        dates: the snapshot days, ascending.
    """

    candidates: DataFrame
    dates: tuple[date, ...]

    @property
    def rows(self) -> DataFrame:
        """The candidates whose label is known."""
        return self.candidates.where(F.col(LABEL).isNotNull())

    def counts(self) -> list[LabelCounts]:
        """Count the candidates of each snapshot, in the order of ``dates``; a snapshot without any counts zero."""
        per_snapshot = self.candidates.groupBy(SNAPSHOT_DATE).agg(
            F.count("*").alias("at_risk"),
            F.count(LABEL).alias("labelled"),
            F.coalesce(F.sum(LABEL), F.lit(0)).alias("positives"),
        )
        found = {
            row[SNAPSHOT_DATE]: row for row in per_snapshot.collect()
        }  # one row per snapshot, however many customers
        return [
            LabelCounts(
                snapshot_date=day,
                at_risk=row["at_risk"] if row else 0,
                labelled=row["labelled"] if row else 0,
                unknown=row["at_risk"] - row["labelled"] if row else 0,
                positives=row["positives"] if row else 0,
            )
            for day, row in ((day, found.get(day)) for day in self.dates)
        ]


def snapshot_dates(last: date, count: int, every_days: int) -> tuple[date, ...]:
    """Return ``count`` snapshot days, ``every_days`` apart and ascending, of which ``last`` is the last.

    Raises:
        ConfigError: ``count`` or ``every_days`` is below 1.

    >>> snapshot_dates(date(2024, 3, 1), 3, 30)
    (datetime.date(2024, 1, 1), datetime.date(2024, 1, 31), datetime.date(2024, 3, 1))
    """
    if count < 1 or every_days < 1:
        raise ConfigError("SNAPSHOTS_INVALID", f"{count} snapshots, {every_days} days apart.", "Both at least 1.")
    return tuple(last - timedelta(days=every_days * back) for back in reversed(range(count)))


def observed(events: DataFrame, event_column: str = EVENT_TS) -> tuple[date, date]:
    """Return the day of the first event and the day after the last: what a log that says nothing of its ends holds.

    Nulls are ignored. One row is collected.

    Raises:
        DataError: there is no event with a time.
    """
    day = utc_date(events, event_column)
    oldest, newest = events.agg(F.min(day), F.max(day)).collect()[0]
    if newest is None:
        raise DataError(
            "EVENTS_EMPTY", f"No event has a value in '{event_column}'.", "At least one.", "Check the source."
        )
    return oldest, newest + timedelta(days=1)


def snapshots(
    facts: DataFrame, windows: LabelWindows, dates: Sequence[date], as_of_date: date, *, rule: Rule
) -> Snapshots:
    """Build the candidates of each snapshot and label those whose outcome is known.

    ``inactive``: ``facts`` are events (``customer_id, event_ts``, a date or a timestamp). At risk is who had an event
    in the observation window; the label is 1 when there is none in the outcome window. Events in the gap count for
    neither.

    ``ended``: ``facts`` are contract periods (``customer_id, start_date, end_date``; ``end_date`` is the first day out
    of service, null while the period runs). Periods that overlap or touch are one service, so a change of plan is no
    churn. At risk is who began before the snapshot day, is in service on it and does not leave before the outcome
    window; the label is 1 when the service ends on a day of the outcome window, even if the customer comes back later.
    The observation window plays no part.

    Facts with a null customer or a null time (``start_date`` for contracts) are ignored. Days are UTC days, whatever
    the session's time zone. Events on or after ``as_of_date`` are not read, and an
    end after it counts as not yet happened.

    Args:
        facts: events or contract periods, as the rule says.
        windows: lengths of the windows.
        dates: snapshot days; repeated days count once.
        as_of_date: the first day the data do not hold in full.
        rule: what counts as churn.

    Raises:
        ConfigError: there are no dates, or a snapshot lies after ``as_of_date``.
    """
    days = tuple(sorted(set(dates)))
    if not days or days[-1] > as_of_date:
        raise ConfigError(
            "SNAPSHOTS_INVALID",
            f"Snapshot days are {[day.isoformat() for day in days]}.",
            f"At least one, none after {as_of_date.isoformat()}, where the data end.",
            "Edit the snapshots under label in the config.",
        )
    build = _inactive if rule == "inactive" else _ended
    return Snapshots(build(facts, windows, days, as_of_date), days)


def _inactive(events: DataFrame, windows: LabelWindows, days: tuple[date, ...], as_of_date: date) -> DataFrame:
    day, snapshot = F.col("_day"), F.col(SNAPSHOT_DATE)
    is_observed = (day >= F.date_sub(snapshot, windows.observation_days)) & (day < snapshot)
    is_outcome = (day >= F.col(OUTCOME_START_DATE)) & (day < F.col(OUTCOME_END_DATE))
    dated = events.select(CUSTOMER_ID, utc_date(events, EVENT_TS).alias("_day")).where(day < F.lit(as_of_date))
    activity = (
        _at_each(dated.where(F.col(CUSTOMER_ID).isNotNull()), days, windows)
        .where(is_observed | is_outcome)
        .groupBy(CUSTOMER_ID, SNAPSHOT_DATE, OUTCOME_START_DATE, OUTCOME_END_DATE)
        .agg(F.max(is_observed).alias("_was_active"), F.max(is_outcome).alias("_is_active"))
    )
    return _labelled(activity.where("_was_active"), ~F.col("_is_active"), as_of_date)


def _ended(contracts: DataFrame, windows: LabelWindows, days: tuple[date, ...], as_of_date: date) -> DataFrame:
    snapshot, end, outcome_start = F.col(SNAPSHOT_DATE), F.col("_end"), F.col(OUTCOME_START_DATE)
    in_service = (F.col("_start") < snapshot) & (end.isNull() | ((end > snapshot) & (end >= outcome_start)))
    at_risk = _at_each(_services(contracts, as_of_date), days, windows).where(in_service)
    has_ended = F.coalesce(end < F.col(OUTCOME_END_DATE), F.lit(False))
    return _labelled(at_risk, has_ended, as_of_date)


def _services(contracts: DataFrame, as_of_date: date) -> DataFrame:
    """Join the periods of a customer that overlap or touch: ``customer_id, _start, _end``, null while in service."""
    start, end = F.col("_start"), F.col("_end")
    in_order = Window.partitionBy(CUSTOMER_ID).orderBy(start, end)
    never = F.lit(date(9999, 12, 31))
    # An end after the as-of date is a plan, not a fact: on that day the customer was still in service.
    ended = utc_date(contracts, "end_date")
    known = contracts.select(
        CUSTOMER_ID,
        utc_date(contracts, "start_date").alias("_start"),
        F.when(ended <= F.lit(as_of_date), ended).otherwise(never).alias("_end"),
    ).where(F.col(CUSTOMER_ID).isNotNull() & (start <= F.lit(as_of_date)))
    reached = F.max(end).over(in_order.rowsBetween(Window.unboundedPreceding, -1))
    begun = known.withColumn("_is_new", F.coalesce(start > reached, F.lit(True)).cast("int"))
    numbered = begun.withColumn("_service", F.sum("_is_new").over(in_order.rowsBetween(Window.unboundedPreceding, 0)))
    joined = numbered.groupBy(CUSTOMER_ID, "_service").agg(F.min(start).alias("_start"), F.max(end).alias("_end"))
    return joined.select(CUSTOMER_ID, "_start", F.when(end < never, end).alias("_end"))


def _at_each(facts: DataFrame, days: tuple[date, ...], windows: LabelWindows) -> DataFrame:
    """Repeat every fact for every snapshot, with the outcome window of it."""
    # Days come from the config, so the facts grow by a small factor; an explode keeps them in place, a join would not.
    start = F.date_add(SNAPSHOT_DATE, windows.gap_days)
    return (
        facts.withColumn(SNAPSHOT_DATE, F.explode(F.array(*[F.lit(day) for day in days])))
        .withColumn(OUTCOME_START_DATE, start)
        .withColumn(OUTCOME_END_DATE, F.date_add(OUTCOME_START_DATE, windows.outcome_days))
    )


def _labelled(at_risk: DataFrame, is_churn: Column, as_of_date: date) -> DataFrame:
    is_known = F.col(OUTCOME_END_DATE) <= F.lit(as_of_date)
    label = F.when(is_known, is_churn.cast("int")).alias(LABEL)
    return at_risk.select(CUSTOMER_ID, SNAPSHOT_DATE, label, OUTCOME_START_DATE, OUTCOME_END_DATE)
