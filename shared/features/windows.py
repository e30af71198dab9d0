"""Aggregates of events per entity as of a snapshot day, many windows in one pass.

An event counts for a snapshot when it lies before the snapshot's first moment: ``snapshot - days <= event < snapshot``,
in the session's time zone (UTC). The snapshot day itself is the future.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from shared.core.columns import identifier
from shared.core.errors import ConfigError

Aggregate = Literal[
    "count", "sum", "mean", "min", "max", "distinct_days", "days_since_last", "days_since_first"
]
_NEEDS_VALUE = ("sum", "mean", "min", "max")


@dataclass(frozen=True)
class WindowFeature:
    """One aggregate over one window.

    Args:
        name: output column.
        aggregate: ``count`` and ``distinct_days`` are 0 without events and ``sum`` is 0.0; the others are null.
        value: column of the events for sum, mean, min and max; null values are left out.
        days: length of the window before the snapshot; None is all history.
        where: column → value the event must have, for conditions such as ``{"is_failed": True}``.

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
            raise ConfigError("WINDOW_INVALID", f"{self.name}: {self.aggregate} of {self.value}.")
        if self.days is not None and self.days < 1:
            raise ConfigError("WINDOW_INVALID", f"{self.name}: a window of {self.days} days.", "At least 1.")


def aggregate_as_of(
    events: DataFrame,
    snapshots: DataFrame,
    features: Sequence[WindowFeature],
    *,
    entity: str,
    event_ts: str,
    snapshot: str,
) -> DataFrame:
    """Return ``entity, snapshot`` and one column per feature, for every row of ``snapshots``.

    Both sides are shuffled once, by entity; the work grows with events times snapshots.

    Args:
        events: rows with ``entity``, ``event_ts`` (date or timestamp) and the values. Null times never count.
        snapshots: distinct rows of ``entity`` and ``snapshot`` (date).
        features: what to compute.
        entity, event_ts, snapshot: names of the columns.
    """
    used = {feature.value for feature in features if feature.value}
    conditions = {name for feature in features for name in feature.where or ()}
    facts = events.select(entity, F.col(event_ts).alias("_event"), *sorted(used | conditions))
    joined = _joined(facts, snapshots.select(entity, snapshot), entity, snapshot, _reach(features))
    return joined.groupBy(entity, snapshot).agg(*(_aggregate(feature, snapshot) for feature in features))


def gap_features(
    events: DataFrame, snapshots: DataFrame, *, entity: str, event_ts: str, snapshot: str
) -> DataFrame:
    """Return ``entity, snapshot, gap_count, median_gap_days, max_gap_days`` of the days between event days.

    Days with several events count once. The median is exact; without two event days it is null and the count 0.
    """
    days = events.select(entity, F.to_date(event_ts).alias("_event")).where("_event IS NOT NULL").distinct()
    before = F.lag("_event").over(Window.partitionBy(entity).orderBy("_event"))
    gaps = days.withColumn("_gap", F.date_diff("_event", before))
    joined = _joined(gaps, snapshots.select(entity, snapshot), entity, snapshot, None)
    return joined.groupBy(entity, snapshot).agg(
        F.count("_gap").alias("gap_count"),
        F.median("_gap").alias("median_gap_days"),
        F.max("_gap").alias("max_gap_days"),
    )


def ratio(recent: Column, earlier: Column) -> Column:
    """Return ``recent / earlier``; null when ``earlier`` is 0 or either is null."""
    return recent / F.nullif(earlier, F.lit(0))


def _joined(facts: DataFrame, snapshots: DataFrame, entity: str, snapshot: str, reach: int | None) -> DataFrame:
    is_seen = F.col("_event") < F.col(snapshot)
    if reach is not None:
        is_seen = is_seen & (F.col("_event") >= F.date_sub(snapshot, reach))
    seen = facts.withColumnRenamed(entity, "_entity")
    return snapshots.join(seen, (F.col(entity) == F.col("_entity")) & is_seen, "left")


def _reach(features: Sequence[WindowFeature]) -> int | None:
    days = [feature.days for feature in features]
    return None if None in days else max(day for day in days if day is not None)


def _aggregate(feature: WindowFeature, snapshot: str) -> Column:
    is_inside = F.col("_event").isNotNull()
    if feature.days is not None:
        is_inside = is_inside & (F.col("_event") >= F.date_sub(snapshot, feature.days))
    for name, value in (feature.where or {}).items():
        is_inside = is_inside & F.col(name).eqNullSafe(F.lit(value))
    value = F.when(is_inside, F.col(feature.value) if feature.value else F.lit(1))
    event = F.when(is_inside, F.col("_event"))
    build: dict[str, Callable[[], Column]] = {
        "count": lambda: F.count(value),
        "sum": lambda: F.coalesce(F.sum(value).cast("double"), F.lit(0.0)),
        "mean": lambda: F.avg(value),
        "min": lambda: F.min(value),
        "max": lambda: F.max(value),
        "distinct_days": lambda: F.size(F.collect_set(F.to_date(event))),
        "days_since_last": lambda: _days(event, snapshot, F.max),
        "days_since_first": lambda: _days(event, snapshot, F.min),
    }
    return build[feature.aggregate]().alias(feature.name)


def _days(event: Column, snapshot: str, extreme: Callable[[Column], Column]) -> Column:
    return F.date_diff(F.col(snapshot), F.to_date(extreme(event)))
