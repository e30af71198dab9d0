"""Aggregates of events per entity as of a snapshot day, many windows in one pass.

An event counts for a snapshot when it lies before 00:00 UTC of the snapshot day and, for a window of ``days``, not
before 00:00 UTC so many days earlier: ``snapshot - days <= event < snapshot``. The snapshot day itself is the future.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from shared.core.columns import identifier
from shared.core.errors import ConfigError, did_you_mean
from shared.features.point_in_time import utc_day

Aggregate = Literal["count", "sum", "mean", "max", "texts", "distinct_days", "days_since_last", "days_since_first"]
_NEEDS_VALUE: Final = ("sum", "mean", "max", "texts")

# Working columns. Days are numbered from 1970-01-01 UTC: comparing integers took half the time of comparing timestamps,
# and it does not depend on the time zone of the session.
_ENTITY: Final = "_entity"
_DAY: Final = "_day"
_SNAPSHOT_DAY: Final = "_snapshot_day"
_VALUE: Final = "_value_"
_FIRST_OF_DAY: Final = "_first_of_day_"


@dataclass(frozen=True)
class WindowFeature:
    """One aggregate over one window.

    Without events ``count`` and ``distinct_days`` are 0, ``sum`` is 0.0, ``texts`` is empty and the others are null. Days
    since an event are whole UTC days, at least 1. ``texts`` are the texts of the events, a line each, by day and those of
    one day by alphabet; one row holds them all.

    Args:
        name: output column.
        aggregate: what to compute.
        value: column of the events for sum, mean, max and texts; its nulls are left out.
        days: length of the window before the snapshot; None is all history.
        where: column → value the event must have, or tuple of values of which it must have one; all must hold.
            A null satisfies only ``None``. Plain values, so that a declaration needs no running Spark.

    Raises:
        ConfigError: a value is missing or not used, or a window is shorter than a day.
    """

    name: str
    aggregate: Aggregate
    value: str | None = None
    days: int | None = None
    where: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        identifier(self.name)
        if (self.aggregate in _NEEDS_VALUE) != (self.value is not None):
            needs = "A value column" if self.aggregate in _NEEDS_VALUE else "No value column"
            raise ConfigError("WINDOW_INVALID", f"{self.name}: {self.aggregate} of {self.value}.", f"{needs}.")
        if self.days is not None and self.days < 1:
            raise ConfigError("WINDOW_INVALID", f"{self.name}: a window of {self.days} days.", "At least 1.")


def aggregate_as_of(
    events: DataFrame,
    snapshots: DataFrame,
    features: Sequence[WindowFeature],
    *,
    entity: str,
    event_ts: str,
    snapshot: str = "snapshot_date",
) -> DataFrame:
    """Return ``entity, snapshot`` and one column per feature: one row for every distinct row of ``snapshots``.

    Each side is shuffled once, by entity, for all features, windows and snapshots. The work grows with the events times
    the snapshots that see them; nothing is collected.

    Args:
        events: rows with ``entity``, ``event_ts`` (date or timestamp) and what the features read. A null entity or time
            never counts; the same event twice counts twice.
        snapshots: rows of ``entity`` and ``snapshot`` (date or timestamp, of which the UTC day counts).
        features: what to compute, at least one.
        entity, event_ts, snapshot: names of the columns.

    Raises:
        ConfigError: no feature, a name used twice, or a column the events lack.
        DataError: ``event_ts`` or ``snapshot`` is neither date nor timestamp.
    """
    read = _columns_read(features)
    _refuse_unusable(features, read, events, entity, snapshot)
    facts = _facts(events, entity, event_ts, read)
    counted_days = [feature for feature in features if feature.aggregate == "distinct_days"]
    if counted_days:
        facts = _with_first_of_day(facts, counted_days)
    is_seen = F.col(_DAY) < F.col(_SNAPSHOT_DAY)
    if all(feature.days is not None for feature in features):
        reach = max(feature.days or 0 for feature in features)
        is_seen &= F.col(_DAY) >= F.col(_SNAPSHOT_DAY) - reach
    wanted = _snapshots(snapshots, entity, snapshot)
    joined = wanted.join(facts, (F.col(entity) == F.col(_ENTITY)) & is_seen, "left")
    return joined.groupBy(entity, snapshot).agg(*(_aggregate(feature) for feature in features))


def gap_features(
    events: DataFrame,
    snapshots: DataFrame,
    *,
    entity: str,
    event_ts: str,
    snapshot: str = "snapshot_date",
    days: int | None = None,
) -> DataFrame:
    """Return the days between an entity's event days before each snapshot, and the last against its own median.

    Columns: ``entity, snapshot, gap_count, median_gap_days`` (exact; the mean of the middle two when their number is
    even), ``max_gap_days, last_gap_days`` and ``last_gap_ratio``, the last gap over the median. With fewer than two
    event days ``gap_count`` is 0 and the others are null. Several events on one UTC day are one; so no gap is 0. Only
    event days of the ``days`` before the snapshot count, or all history when None.

    The days of one entity, of which a year has 366, are held in one array, however many events they have. Rows, null
    rules and errors are those of `aggregate_as_of`.
    """
    dated = _facts(events, entity, event_ts, ()).groupBy(_ENTITY).agg(F.sort_array(F.collect_set(_DAY)).alias("_days"))
    inner = F.size("_days") - 1
    differences = F.zip_with(F.slice("_days", 2, inner), F.slice("_days", 1, inner), lambda later, day: later - day)
    seen = F.size(F.filter("_days", lambda day: day < F.col(_SNAPSHOT_DAY)))
    # How many event days lie before the window; they come first.
    before = F.lit(0) if days is None else F.size(F.filter("_days", lambda day: day < F.col(_SNAPSHOT_DAY) - days))
    known = _snapshots(snapshots, entity, snapshot).join(
        dated.withColumn("_gaps", differences), F.col(entity) == F.col(_ENTITY), "left"
    )
    count = F.coalesce(F.greatest(seen - before - 1, F.lit(0)), F.lit(0))
    gaps = known.withColumn("_count", count).withColumn("_inside", F.slice("_gaps", before + 1, F.col("_count")))
    gaps = gaps.withColumn("_sorted", F.sort_array("_inside"))
    # `get` is null outside the array: nothing to guard where there is no gap.
    last = F.get("_inside", F.col("_count") - 1)
    median = (F.expr("get(_sorted, (_count - 1) div 2)") + F.expr("get(_sorted, _count div 2)")) / 2
    return gaps.select(
        entity,
        snapshot,
        F.col("_count").alias("gap_count"),
        F.when(F.col("_count") > 0, median).alias("median_gap_days"),
        F.get("_sorted", F.col("_count") - 1).alias("max_gap_days"),
        last.alias("last_gap_days"),
        (last / median).alias("last_gap_ratio"),
    )


def ratio(recent: Column, earlier: Column) -> Column:
    """Return the trend ``recent / earlier`` of two windows; null when ``earlier`` is 0 or either is null."""
    return recent / F.nullif(earlier, F.lit(0))


def _columns_read(features: Sequence[WindowFeature]) -> list[str]:
    values = {feature.value for feature in features if feature.value}
    return sorted(values | {name for feature in features for name in feature.where or ()})


def _refuse_unusable(
    features: Sequence[WindowFeature], read: Sequence[str], events: DataFrame, entity: str, snapshot: str
) -> None:
    names = [entity, snapshot, *(feature.name for feature in features)]
    if not features or len(set(names)) < len(names):
        raise ConfigError("WINDOW_INVALID", f"Columns to make are {names}.", "At least one feature, each name once.")
    for name in read:
        if name not in events.columns:
            hint = did_you_mean(name, events.columns)
            raise ConfigError(
                "WINDOW_INVALID", f"The events have no column '{name}'.", f"One of {events.columns}.", hint
            )


def _facts(events: DataFrame, entity: str, event_ts: str, read: Sequence[str]) -> DataFrame:
    # Values get a prefix: a column of the events may be called as one of the snapshots.
    values = [F.col(name).alias(f"{_VALUE}{name}") for name in read]
    facts = events.select(F.col(entity).alias(_ENTITY), utc_day(events, event_ts).alias(_DAY), *values)
    return facts.where(F.col(_ENTITY).isNotNull() & F.col(_DAY).isNotNull())


def _snapshots(snapshots: DataFrame, entity: str, snapshot: str) -> DataFrame:
    """Return each entity and snapshot once, placed by entity: neither join nor aggregation moves them again."""
    day = utc_day(snapshots, snapshot).alias(_SNAPSHOT_DAY)
    return snapshots.select(entity, snapshot, day).repartition(entity).dropDuplicates([entity, snapshot])


def _with_first_of_day(facts: DataFrame, counted_days: Sequence[WindowFeature]) -> DataFrame:
    """Flag the first of a day's events that satisfy a condition: counting flags counts days without a set per group."""
    of_day = Window.partitionBy(_ENTITY, _DAY).orderBy(_DAY).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    flags = {
        _FIRST_OF_DAY + feature.name: _holds(feature) & (F.count_if(_holds(feature)).over(of_day) == 1)
        for feature in counted_days
    }
    return facts.repartition(_ENTITY).withColumns(flags)


def _holds(feature: WindowFeature) -> Column:
    holds = F.lit(True)
    for name, wanted in (feature.where or {}).items():
        found = F.col(_VALUE + name)
        options = wanted if isinstance(wanted, tuple) else (wanted,)
        matches = [found.eqNullSafe(F.lit(option)) for option in options]
        is_one = F.lit(False)
        for match_ in matches:
            is_one |= match_
        holds &= is_one
    return holds


def _aggregate(feature: WindowFeature) -> Column:
    is_inside = F.col(_DAY).isNotNull()  # null where the left join found no event
    if feature.days is not None:
        is_inside &= F.col(_DAY) >= F.col(_SNAPSHOT_DAY) - feature.days
    is_counted = is_inside & _holds(feature)
    value = F.when(is_counted, F.col(f"{_VALUE}{feature.value}"))
    age = F.when(is_counted, F.col(_SNAPSHOT_DAY) - F.col(_DAY))
    build: dict[str, Callable[[], Column]] = {
        "count": lambda: F.count_if(is_counted),
        "sum": lambda: F.coalesce(F.sum(value).cast("double"), F.lit(0.0)),
        "mean": lambda: F.avg(value),
        "max": lambda: F.max(value),
        "texts": lambda: _lines(F.collect_list(F.when(value.isNotNull(), F.struct(_DAY, value.alias("text"))))),
        "distinct_days": lambda: F.count_if(is_inside & F.col(_FIRST_OF_DAY + feature.name)),
        "days_since_last": lambda: F.min(age),
        "days_since_first": lambda: F.max(age),
    }
    return build[feature.aggregate]().alias(feature.name)


def _lines(dated: Column) -> Column:
    return F.array_join(F.transform(F.array_sort(dated), lambda each: each["text"]), "\n")
