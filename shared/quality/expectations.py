"""Expectations: each is a function that names a rule and returns the Column that is true where the rule holds.

Null passes every rule except `not_null` (and `referential` of a null is not looked up), so each rule says one thing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from shared.core.errors import ConfigError

Severity = Literal["error", "warning"]
FAILURE_TYPE: Final = "array<struct<rule:string,column:string,value:string,message:string,severity:string>>"


@dataclass(frozen=True)
class Expectation:
    """A rule about each row.

    Args:
        rule: name of the rule, e.g. ``not_null``.
        column: the column it is about, or several joined by ``+``.
        passes: true where the row is fine; null counts as failing.
        message: what is expected, one short sentence.
        severity: ``error`` sends the row to quarantine, ``warning`` only counts it.
        lookup: for `referential`: distinct known keys in a column ``_known``.
    """

    rule: str
    column: str
    passes: Column
    message: str
    severity: Severity = "error"
    lookup: DataFrame | None = None


@dataclass(frozen=True)
class TableExpectation:
    """A rule about the whole table: ``value`` is an aggregate, ``passes`` a predicate on the column ``value``."""

    rule: str
    column: str
    value: Column
    passes: Column
    message: str
    severity: Severity = "error"


def not_null(column: str, severity: Severity = "error") -> Expectation:
    """Expect a value; NaN is a value."""
    return Expectation("not_null", column, F.col(column).isNotNull(), "must have a value", severity)


def in_set(column: str, values: Collection[object], severity: Severity = "error") -> Expectation:
    """Expect one of ``values``; null passes."""
    ordered = sorted(values, key=str)
    passes = F.col(column).isNull() | F.col(column).isin(ordered)
    return Expectation("in_set", column, passes, f"must be one of {ordered}", severity)


def in_range(
    column: str, low: object | None = None, high: object | None = None, severity: Severity = "error"
) -> Expectation:
    """Expect ``low <= value <= high``, either end open when None; null passes, NaN fails.

    Raises:
        ConfigError: both ends are open.
    """
    if low is None and high is None:
        raise ConfigError("RANGE_INVALID", f"in_range of {column} has no end.", "low, high or both.")
    value = F.col(column)
    # Spark orders NaN above every number, so only an upper end would catch it.
    passes = (value == value) & ~value.cast("string").eqNullSafe("NaN")
    if low is not None:
        passes = passes & (value >= F.lit(low))
    if high is not None:
        passes = passes & (value <= F.lit(high))
    ends = f"must be at least {low}" if high is None else f"must be at most {high}"
    message = ends if low is None or high is None else f"must be from {low} to {high}"
    return Expectation("in_range", column, value.isNull() | passes, message, severity)


def matches(column: str, pattern: str, severity: Severity = "error") -> Expectation:
    """Expect the whole text to match the Java regular expression; null passes."""
    passes = F.col(column).isNull() | F.col(column).rlike(rf"\A(?:{pattern})\z")
    return Expectation("matches", column, passes, f"must match {pattern}", severity)


def unique(*columns: str, severity: Severity = "error") -> Expectation:
    """Expect no other row with the same values; of a repeated key every row fails, since none is known to be right.

    Keys with a null pass: `not_null` is another rule.
    """
    copies = F.count(F.lit(1)).over(Window.partitionBy(*columns))
    has_null = F.lit(False)
    for name in columns:
        has_null = has_null | F.col(name).isNull()
    return Expectation("unique", "+".join(columns), has_null | (copies == 1), "must not repeat", severity)


def referential(column: str, other: DataFrame, other_column: str, severity: Severity = "error") -> Expectation:
    """Expect the value to occur in ``other``; null passes."""
    known = other.select(F.col(other_column).alias("_known")).where("_known IS NOT NULL").distinct()
    passes = F.col(column).isNull() | F.col("_known").isNotNull()
    return Expectation("referential", column, passes, f"must occur in {other_column}", severity, known)


def satisfies(rule: str, column: str, passes: Column, message: str, severity: Severity = "error") -> Expectation:
    """Expect any predicate; null counts as failing."""
    return Expectation(rule, column, passes, message, severity)


def fresh(column: str, within_days: float, now: datetime, severity: Severity = "error") -> TableExpectation:
    """Expect the newest value of a date or timestamp to lie at most ``within_days`` before ``now`` (aware)."""
    earliest = now - timedelta(days=within_days)
    newest = F.max(column).cast("timestamp")
    passes = F.col("value").cast("timestamp") >= F.lit(earliest)
    return TableExpectation(
        "fresh", column, newest, passes, f"newest must be {earliest:%Y-%m-%d %H:%M} UTC or later", severity
    )


def volume(low: int, high: int | None = None, severity: Severity = "error") -> TableExpectation:
    """Expect from ``low`` to ``high`` rows, without end when None."""
    value = F.col("value").cast("long")
    passes = value >= low if high is None else value.between(low, high)
    message = f"must have at least {low:,} rows" if high is None else f"must have {low:,} to {high:,} rows"
    return TableExpectation("volume", "*", F.count(F.lit(1)), passes, message, severity)
