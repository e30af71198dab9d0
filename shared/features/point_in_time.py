"""Joins that see only what was known at the time: each row gets the newest earlier row of its entity.

An update that carries a null is news: it hides the older value, as it would have for anyone who looked at the time.
"""

from collections.abc import Sequence
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, TimestampNTZType, TimestampType

from shared.core.errors import ConfigError, DataError, did_you_mean

MICROS_PER_DAY: Final = 86_400_000_000
_IS_LEFT, _AT, _ORDER, _KNOWN, _ROW = "_is_left", "_at", "_order", "_known", "_row"


def as_of_join(
    left: DataFrame,
    right: DataFrame,
    *,
    entity: str | Sequence[str],
    left_ts: str,
    right_ts: str,
    columns: Sequence[str],
    ttl_days: float | None = None,
    is_same_instant_seen: bool = False,
    created_ts: str | None = None,
) -> DataFrame:
    """Return every row of ``left`` with ``columns`` and ``right_ts`` of the newest row of ``right`` before it.

    One union, one shuffle by entity and one sort: linear in the rows of both sides, however many updates an entity has
    (a join on ``right_ts <= left_ts`` makes their product). The rows of one entity are sorted in one task.

    Args:
        left: rows to be filled; duplicates are kept. A null entity or time finds nothing and gets nulls.
        right: updates; those with a null entity or time are left out.
        entity: column or columns of both sides.
        left_ts, right_ts: date (00:00 UTC of the day) or timestamp.
        columns: what to take from ``right``; a null in the newest update is taken, not skipped.
        ttl_days: an update older than this is forgotten (null), as is everything before it; exactly this old is seen.
        is_same_instant_seen: whether an update at the very instant of the row is seen. False is the safe choice: it may
            be the row's own outcome.
        created_ts: of updates at one instant the one created last wins, null first; without it, or when that ties too,
            the greatest values of ``columns``, in order: arbitrary, but the same on every run.

    Raises:
        ConfigError: a column is missing or would be there twice.
        DataError: a time is neither date nor timestamp.
    """
    keys = [entity] if isinstance(entity, str) else list(entity)
    _refuse_unusable(left, right, [*keys, left_ts], [*keys, right_ts, *columns, *([created_ts] if created_ts else [])])
    taken = list(dict.fromkeys([*columns, right_ts]))
    twice = sorted(set(taken) & set(left.columns))
    if twice:
        raise ConfigError(
            "JOIN_INVALID", f"Both sides have {twice}.", "Other names on the right.", "Rename them first."
        )
    rows = left.select(
        *(F.col(key).alias(f"_key{place}") for place, key in enumerate(keys)),
        utc_micros(left, left_ts).alias(_AT),
        F.lit(True).alias(_IS_LEFT),
        F.struct(*left.columns).alias(_ROW),
    )
    order = F.struct(*([created_ts] if created_ts else []), *columns)
    known = F.struct(utc_micros(right, right_ts).alias(_AT), *taken)
    updates = right.select(
        *(F.col(key).alias(f"_key{place}") for place, key in enumerate(keys)),
        utc_micros(right, right_ts).alias(_AT),
        F.lit(False).alias(_IS_LEFT),
        order.alias(_ORDER),
        known.alias(_KNOWN),
    ).where(" AND ".join(f"{name} IS NOT NULL" for name in [*(f"_key{place}" for place in range(len(keys))), _AT]))
    # Of one instant, rows that see it come after its updates, rows that do not come before.
    first_seen = F.col(_IS_LEFT) if is_same_instant_seen else ~F.col(_IS_LEFT)
    in_order = Window.partitionBy(*(f"_key{place}" for place in range(len(keys)))).orderBy(_AT, first_seen, _ORDER)
    newest = F.last(_KNOWN, ignorenulls=True).over(in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    filled = rows.unionByName(updates, allowMissingColumns=True).withColumn(_KNOWN, newest).where(_IS_LEFT)
    is_known = F.col(_AT).isNotNull()
    if ttl_days is not None:
        is_known &= F.col(_AT) - F.col(f"{_KNOWN}.{_AT}") <= int(ttl_days * MICROS_PER_DAY)
    return filled.select(f"{_ROW}.*", *(F.when(is_known, F.col(f"{_KNOWN}.{name}")).alias(name) for name in taken))


def utc_micros(rows: DataFrame, column: str) -> Column:
    """Return the instant of a date or timestamp column in microseconds since 1970-01-01 00:00 UTC.

    It does not depend on the session's time zone: a date is 00:00 UTC, a timestamp without zone is taken as UTC.

    Raises:
        DataError: the column is neither.
    """
    kind = rows.schema[column].dataType
    match kind:
        case DateType():
            return F.unix_date(column).cast("bigint") * MICROS_PER_DAY
        case TimestampType():
            return F.unix_micros(column)
        case TimestampNTZType():
            micros_of_day = F.expr(
                f"(extract(HOUR FROM `{column}`) * 60 + extract(MINUTE FROM `{column}`)) * 60000000L"
            )
            seconds = F.expr(f"extract(SECOND FROM `{column}`)")
            day = F.unix_date(F.col(column).cast("date")).cast("bigint")
            return day * MICROS_PER_DAY + micros_of_day + (seconds * 1_000_000).cast("bigint")
    raise DataError(
        "TIME_INVALID",
        f"Column '{column}' is {kind.simpleString()}.",
        "A date or a timestamp.",
        "Cast it at ingestion.",
    )


def utc_day(rows: DataFrame, column: str) -> Column:
    """Return the UTC day of a date or timestamp column as the number of days since 1970-01-01.

    Raises:
        DataError: the column is neither.
    """
    if isinstance(rows.schema[column].dataType, DateType):
        return F.unix_date(column)
    return F.floor(utc_micros(rows, column) / MICROS_PER_DAY).cast("int")


def utc_date(rows: DataFrame, column: str) -> Column:
    """Return the UTC day of a date or timestamp column as a date.

    `F.to_date` of a timestamp gives the day in the session's time zone, which in a session of others need not be UTC.

    Raises:
        DataError: the column is neither.
    """
    return F.date_from_unix_date(utc_day(rows, column))


def _refuse_unusable(left: DataFrame, right: DataFrame, of_left: Sequence[str], of_right: Sequence[str]) -> None:
    for side, rows, names in (("left", left, of_left), ("right", right, of_right)):
        for name in names:
            if name not in rows.columns:
                raise ConfigError(
                    "JOIN_INVALID",
                    f"The {side} side has no column '{name}'.",
                    f"One of {rows.columns}.",
                    did_you_mean(name, rows.columns),
                )
