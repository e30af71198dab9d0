"""Expectations: each is a function that names a rule and returns the Column that is true where the rule holds.

Null passes every rule except `not_null`, so each rule says one thing; a rule of your own made with `satisfies` gets no
such leave, and a null answer of it counts as failing.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from shared.core.errors import ConfigError

Severity = Literal["error", "warning"]
FAILURE_TYPE: Final = "array<struct<rule:string,column:string,value:string,message:string,severity:string>>"
_NAMED_VALUES = 10


@dataclass(frozen=True)
class Expectation:
    """A rule about each row.

    Args:
        rule: name of the rule, e.g. ``not_null``.
        column: the column it is about, or several joined by ``+``.
        passes: true where the row is fine; null counts as failing.
        message: what is expected, one short sentence.
        severity: ``error`` sends the row to quarantine, ``warning`` only counts it.
        lookup: for `referential`: distinct known keys in a column ``_known``, which ``passes`` may use.
    """

    rule: str
    column: str
    passes: Column
    message: str
    severity: Severity = "error"
    lookup: DataFrame | None = None


@dataclass(frozen=True)
class TableExpectation:
    """A rule about the whole table; it is counted and gated, and never sends a row to quarantine.

    Args:
        rule: name of the rule, e.g. ``volume``.
        column: the column it is about, ``*`` for the rows themselves.
        value: the aggregate that is looked at.
        passes: tells from ``value`` whether the table is fine; null counts as failing.
        message: what is expected, one short sentence.
        severity: ``error`` stops the run at the gate, ``warning`` is only shown.
    """

    rule: str
    column: str
    value: Column
    passes: Callable[[Column], Column]
    message: str
    severity: Severity = "error"


def not_null(column: str, severity: Severity = "error") -> Expectation:
    """Expect a value; NaN and the empty text are values."""
    return Expectation("not_null", column, F.col(column).isNotNull(), "must have a value", severity)


def in_set(column: str, values: Collection[object], severity: Severity = "error") -> Expectation:
    """Expect one of ``values``, compared exactly (case and blanks count); null passes.

    Raises:
        ConfigError: no values, or null among them.
    """
    if not values or None in values:
        raise ConfigError(
            "SET_INVALID", f"in_set of {column} has {values!r}.", "At least one value, none of them null.", "Name them."
        )
    ordered = sorted(values, key=str)
    named = ", ".join(map(str, ordered[:_NAMED_VALUES])) + (", …" if len(ordered) > _NAMED_VALUES else "")
    passes = F.col(column).isNull() | F.col(column).isin(ordered)
    return Expectation("in_set", column, passes, f"must be one of {named}", severity)


def in_range(
    column: str, low: object | None = None, high: object | None = None, severity: Severity = "error"
) -> Expectation:
    """Expect ``low <= value <= high``, either end open when None; null passes, NaN fails, infinity passes an open end.

    The column must have a type that compares with the ends: cast text with ``try_cast`` before.

    Raises:
        ConfigError: both ends are open.
    """
    if low is None and high is None:
        raise ConfigError("RANGE_INVALID", f"in_range of {column} has no end.", "low, high or both.", "Give one.")
    value = F.col(column)
    passes = F.lit(True)
    if low is not None:
        passes = passes & (value >= F.lit(low))
    if high is not None:
        passes = passes & (value <= F.lit(high))
    elif isinstance(low, int | float | Decimal):
        # Spark orders NaN above every number, infinity included, so a lower end alone would let it pass.
        passes = passes & (value <= F.lit(float("inf")))
    ends = f"must be at least {low}" if high is None else f"must be at most {high}"
    message = ends if low is None or high is None else f"must be from {low} to {high}"
    return Expectation("in_range", column, value.isNull() | passes, message, severity)


def matches(column: str, pattern: str, severity: Severity = "error") -> Expectation:
    r"""Expect the whole text to match the Java regular expression; null passes.

    The pattern is anchored with ``\A`` and ``\z``: Java's ``$`` would accept a line end after the text.
    """
    passes = F.col(column).isNull() | F.col(column).rlike(rf"\A(?:{pattern})\z")
    return Expectation("matches", column, passes, f"must match {pattern}", severity)


def unique(*columns: str, keep_first_by: str | None = None, severity: Severity = "error") -> Expectation:
    """Expect no other row with the same values; keys with a null pass.

    Of a repeated key every row fails, since none is known to be right. The rows are shuffled by the key once; on a
    stream there is no such window.

    Args:
        columns: the key.
        keep_first_by: a column by which the first row of a key passes and the later ones fail, null first; of rows
            that tie in it too, any one passes.
        severity: see `Expectation`.

    Raises:
        ConfigError: no columns.
    """
    if not columns:
        raise ConfigError("KEY_INVALID", "unique has no columns.", "At least one.", "Name the key.")
    same_key = Window.partitionBy(*columns)
    if keep_first_by is None:
        is_only = F.count(F.lit(1)).over(same_key) == 1
    else:
        is_only = F.row_number().over(same_key.orderBy(keep_first_by)) == 1
    has_null = F.lit(False)
    for name in columns:
        has_null = has_null | F.col(name).isNull()
    return Expectation("unique", "+".join(columns), has_null | is_only, "must not repeat", severity)


def referential(column: str, other: DataFrame, other_column: str, severity: Severity = "error") -> Expectation:
    """Expect the value to occur in ``other_column`` of ``other``, where it may repeat; null passes."""
    known = other.select(F.col(other_column).alias("_known")).where("_known IS NOT NULL").distinct()
    passes = F.col(column).isNull() | F.col("_known").isNotNull()
    return Expectation("referential", column, passes, f"must occur in {other_column}", severity, known)


def satisfies(rule: str, column: str, passes: Column, message: str, severity: Severity = "error") -> Expectation:
    """Expect any predicate; null counts as failing.

    Args:
        rule: a name of its own, for the report.
        column: column or columns, joined by ``+``, whose values are shown for rows that fail.
        passes: true where the row is fine.
        message: what is expected, e.g. ``must not exceed the limit``.
        severity: see `Expectation`.
    """
    return Expectation(rule, column, passes, message, severity)


def fresh(column: str, within_days: float, now: datetime, severity: Severity = "error") -> TableExpectation:
    """Expect the newest value of a date or timestamp to lie at most ``within_days`` before ``now``.

    Values after ``now`` are left out, or one wrong clock would make an old table look fresh; a table with no value
    fails. A date counts as its midnight in the session's time zone.

    Raises:
        ConfigError: ``now`` has no time zone.
    """
    if now.tzinfo is None:
        raise ConfigError("TIME_INVALID", f"fresh got {now} without a time zone.", "An aware datetime.", "Add UTC.")
    earliest = (now - timedelta(days=within_days)).astimezone(UTC)
    seen = F.col(column).cast("timestamp")
    newest = F.max(F.when(seen <= F.lit(now), seen))
    message = f"newest must be {earliest:%Y-%m-%d %H:%M} UTC or later"
    return TableExpectation("fresh", column, newest, lambda value: value >= F.lit(earliest), message, severity)


def volume(low: int, high: int | None = None, severity: Severity = "error") -> TableExpectation:
    """Expect from ``low`` to ``high`` rows, without end when None.

    Raises:
        ConfigError: ``high`` is below ``low``.
    """
    if high is not None and high < low:
        raise ConfigError("RANGE_INVALID", f"volume from {low} to {high}.", "low at most high.", "Swap them.")
    message = f"must have at least {low:,} rows" if high is None else f"must have {low:,} to {high:,} rows"

    def is_enough(value: Column) -> Column:
        return value >= low if high is None else value.between(low, high)

    return TableExpectation("volume", "*", F.count(F.lit(1)), is_enough, message, severity)
