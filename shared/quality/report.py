"""The summary of a check: as a table in one pass, as plain rows for a report, as text for a terminal.

`summary_table` is lazy like every DataFrame: write it or collect it once, each use reads the rows again.
"""

from collections.abc import Collection, Sequence
from typing import Final

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from shared.quality.expectations import Expectation, TableExpectation
from shared.quality.suite import BROKEN, MASK, RuleResult, some, value_text

COLUMNS: Final = (
    "rule string, column string, severity string, message string, scope string, checked_count bigint,"
    " failed_count bigint, failed_share double, examples array<string>"
)
"""The columns of `summary_table` and `as_rows`, as DDL."""
_FACTS: Final = f"array<struct<{COLUMNS.replace(' ', ':').replace(',:', ',')}>>"
_HEADER = ("rule", "column", "severity", "failed", "of", "share", "examples")


def summary_table(
    checked: DataFrame,
    expectations: Sequence[Expectation],
    table_expectations: Sequence[TableExpectation] = (),
    pii: Collection[str] = (),
) -> DataFrame:
    """Return one row per rule, in the order given, from a single aggregation of the rows.

    Args:
        checked: rows with `_broken`, from `with_broken` with the same ``expectations``.
        expectations: the rules about rows.
        table_expectations: the rules about the whole table; checked_count is 1, failed_count 0 or 1.
        pii: columns whose values are shown as stars.

    Returns:
        rule, column, severity, message, scope, checked_count, failed_count, failed_share (0 to 1, 0 for no rows) and
        examples: up to three different values of rows that fail, as text cut to 80 characters.
    """
    rows = F.count(F.lit(1))
    rules = [_row_rule(place, rule, rows, checked.columns, pii) for place, rule in enumerate(expectations)]
    rules += [_table_rule(rule, pii) for rule in table_expectations]
    return checked.agg(F.array(*rules).cast(_FACTS).alias("rules")).select(F.inline("rules"))


def results(summary: DataFrame) -> list[RuleResult]:
    """Collect a `summary_table`, as small as the list of rules, for `gate` and the functions below."""

    def result(row: Row) -> RuleResult:
        counts = row["checked_count"], row["failed_count"], tuple(row["examples"])
        return RuleResult(row["rule"], row["column"], row["severity"], row["message"], *counts, row["scope"])

    return [result(row) for row in summary.collect()]


def as_rows(found: Sequence[RuleResult]) -> list[dict[str, object]]:
    """Return plain rows with the names of `summary_table`, for JSON and HTML; broken rules first, most rows first."""
    return [
        {
            "rule": result.rule,
            "column": result.column,
            "severity": result.severity,
            "message": result.message,
            "scope": result.scope,
            "checked_count": result.checked,
            "failed_count": result.failed,
            "failed_share": result.share,
            "examples": list(result.examples),
        }
        for result in _worst_first(found)
    ]


def as_text(found: Sequence[RuleResult]) -> str:
    """Return the summary as lines of aligned text, broken rules first.

    >>> print(as_text([RuleResult("not_null", "id", "error", "must have a value", 4, 1, ("null",))]))
    rule      column  severity  failed  of  share   examples
    not_null  id      error     1       4   25.00%  'null'
    """
    lines = [_HEADER, *(_cells(result) for result in _worst_first(found))]
    widths = [max(len(line[place]) for line in lines) for place in range(len(_HEADER))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _row_rule(place: int, rule: Expectation, rows: Column, columns: Collection[str], pii: Collection[str]) -> Column:
    breaks = F.getbit(F.col(BROKEN), F.lit(place)) == 1
    shown = value_text(rule.column, columns)
    if set(rule.column.split("+")) & set(pii):
        shown = F.lit(MASK)
    return _fact(rule, "rows", rows, F.count_if(breaks), some(F.when(breaks, shown)))


def _table_rule(rule: TableExpectation, pii: Collection[str]) -> Column:
    fails = ~F.coalesce(rule.passes(rule.value), F.lit(False))
    shown = F.lit(MASK) if rule.column in pii else F.coalesce(rule.value.cast("string"), F.lit("none"))
    examples = F.array_compact(F.array(F.when(fails, shown)))
    return _fact(rule, "table", F.lit(1).cast("long"), fails.cast("long"), examples)


def _fact(
    rule: Expectation | TableExpectation, scope: str, checked: Column, failed: Column, examples: Column
) -> Column:
    names = {name: F.lit(getattr(rule, name)) for name in ("rule", "column", "severity", "message")}
    share = F.when(checked == 0, F.lit(0.0)).otherwise(failed / checked)
    counts = {"scope": F.lit(scope), "checked_count": checked, "failed_count": failed, "failed_share": share}
    return F.struct(*(value.alias(name) for name, value in (names | counts | {"examples": examples}).items()))


def _worst_first(found: Sequence[RuleResult]) -> list[RuleResult]:
    return sorted(found, key=lambda result: (-result.share, -result.failed, result.column, result.rule))


def _cells(result: RuleResult) -> tuple[str, ...]:
    counts = f"{result.failed:,}", f"{result.checked:,}", f"{result.share:.2%}"
    return result.rule, result.column, result.severity, *counts, ", ".join(map(repr, result.examples))
