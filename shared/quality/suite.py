"""Checking a table against its expectations in one pass, and routing the rows that fail.

A check costs one number per row, a bit for each rule it breaks; the sentences are written only for the rows that fail.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from shared.core.columns import FAILURES
from shared.core.errors import ConfigError, DataError
from shared.quality.expectations import FAILURE_TYPE, Expectation, Severity, TableExpectation

BROKEN: Final = "_broken"
EXAMPLES: Final = 3
MASK: Final = "***"
_MOST_RULES = 63


@dataclass(frozen=True)
class RuleResult:
    """What became of one rule: rows checked, rows that break it, and up to three of their values."""

    rule: str
    column: str
    severity: Severity
    message: str
    checked: int
    failed: int
    examples: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Share of the rows that break the rule; 0 for no rows."""
        return self.failed / self.checked if self.checked else 0.0


def with_broken(rows: DataFrame, expectations: Sequence[Expectation]) -> DataFrame:
    """Add `_broken`: bit i is set when the row breaks ``expectations[i]``; 0 when all hold.

    Raises:
        ConfigError: more than 63 expectations.
    """
    if len(expectations) > _MOST_RULES:
        raise ConfigError("RULES_TOO_MANY", f"{len(expectations)} rules.", f"At most {_MOST_RULES}.", "Split them.")
    looked_up = rows
    broken: Column = F.lit(0).cast("long")
    for place, expectation in enumerate(expectations):
        passes = expectation.passes
        if expectation.lookup is not None:
            known = f"_known_{place}"
            lookup = expectation.lookup.select(F.col("_known").alias(known))
            looked_up = looked_up.join(lookup, F.col(expectation.column) == F.col(known), "left")
            passes = F.col(expectation.column).isNull() | F.col(known).isNotNull()
        broken = broken + F.when(F.coalesce(passes, F.lit(False)), 0).otherwise(1 << place)
    return looked_up.withColumn(BROKEN, broken).select(*rows.columns, BROKEN)


def is_accepted(expectations: Sequence[Expectation]) -> Column:
    """Tell whether a row with `_broken`, and perhaps `_failures` from parsing, has no error; warnings do not count."""
    errors = sum(1 << place for place, expectation in enumerate(expectations) if expectation.severity == "error")
    return F.col(BROKEN).bitwiseAND(F.lit(errors).cast("long")) == 0


def failures(expectations: Sequence[Expectation], columns: Sequence[str]) -> Column:
    """Return an array with rule, column, value, message and severity of every rule that `_broken` names.

    Args:
        expectations: the rules of `with_broken`.
        columns: columns whose values can be shown; a rule about others has a null value.
    """
    if not expectations:
        return F.array().cast(FAILURE_TYPE)
    facts = [F.array(*(F.lit(getattr(e, name)) for e in expectations)) for name in ("rule", "column", "message", "severity")]
    values = F.array(*(_value(e.column, columns) for e in expectations))
    places = F.sequence(F.lit(0), F.lit(len(expectations) - 1))
    broken = F.filter(places, lambda place: F.getbit(BROKEN, place) == 1)
    rule, column, message, severity = facts

    def described(place: Column) -> Column:
        return F.struct(
            F.get(rule, place).alias("rule"),
            F.get(column, place).alias("column"),
            F.get(values, place).alias("value"),
            F.get(message, place).alias("message"),
            F.get(severity, place).alias("severity"),
        )

    return F.transform(broken, described)


def with_failures(rows: DataFrame, expectations: Sequence[Expectation]) -> DataFrame:
    """Add `_failures`: the broken rules of each row, empty where all hold.

    A `_failures` column that is already there, from parsing, is added to; its null counts as empty.
    """
    checked = with_broken(rows, expectations)
    found = failures(expectations, rows.columns)
    if FAILURES in rows.columns:
        found = F.concat(F.coalesce(FAILURES, F.array().cast(FAILURE_TYPE)), found)
    return checked.withColumn(FAILURES, found).drop(BROKEN)


def split(rows: DataFrame, expectations: Sequence[Expectation]) -> tuple[DataFrame, DataFrame]:
    """Return (accepted rows, rejected rows with `_failures`); every row is in exactly one."""
    checked = with_broken(rows, expectations)
    rejected = checked.where(~is_accepted(expectations))
    described = rejected.withColumn(FAILURES, failures(expectations, rows.columns)).drop(BROKEN)
    return checked.where(is_accepted(expectations)).drop(BROKEN), described


def summarise(
    counts: Mapping[int, int], expectations: Sequence[Expectation], examples: Mapping[tuple[str, str], Sequence[str]]
) -> list[RuleResult]:
    """Return one result per rule.

    Args:
        counts: rows for each value of `_broken`, from `count_broken`.
        expectations: the rules of `with_broken`.
        examples: (rule, column) → values, from `count_failures`.
    """
    rows = sum(counts.values())
    return [
        RuleResult(
            rule.rule,
            rule.column,
            rule.severity,
            rule.message,
            rows,
            sum(count for broken, count in counts.items() if broken >> place & 1),
            tuple(examples.get((rule.rule, rule.column), ())),
        )
        for place, rule in enumerate(expectations)
    ]


def count_broken(checked: DataFrame) -> dict[int, int]:
    """Return the rows for each value of `_broken`: one pass, and as many numbers as there are combinations of rules."""
    return {row[BROKEN]: row["count"] for row in checked.groupBy(BROKEN).count().collect()}


def count_failures(rejected: DataFrame, pii: Collection[str] = ()) -> dict[tuple[str, str], tuple[int, list[str]]]:
    """Return per (rule, column) of `_failures` the rows and up to three values; those of ``pii`` columns as stars."""
    each = rejected.select(F.explode(FAILURES).alias("f")).select("f.*")
    value = F.when(F.col("column").isin(list(pii)), F.lit(MASK)).otherwise(F.coalesce("value", F.lit("null")))
    # min, max and any need no memory that grows with the rows
    some = F.array_sort(F.array_distinct(F.array(F.min(value), F.any_value(value), F.max(value))))
    found = each.groupBy("rule", "column").agg(F.count("*").alias("n"), some.alias("examples")).collect()
    return {(row["rule"], row["column"]): (row["n"], row["examples"]) for row in found}


def check_table(rows: DataFrame, expectations: Sequence[TableExpectation]) -> list[RuleResult]:
    """Return one result per rule about the whole table, from one aggregation; ``checked`` is 1."""
    if not expectations:
        return []
    values = rows.agg(*(e.value.alias(f"_value_{place}") for place, e in enumerate(expectations)))
    for place, expectation in enumerate(expectations):
        holds = expectation.passes
        values = values.withColumn("value", F.col(f"_value_{place}")).withColumn(f"_holds_{place}", holds)
    row = values.collect()[0]
    results = []
    for place, e in enumerate(expectations):
        holds = bool(row[f"_holds_{place}"])
        shown = () if holds else (str(row[f"_value_{place}"]),)
        results.append(RuleResult(e.rule, e.column, e.severity, e.message, 1, int(not holds), shown))
    return results


def gate(
    results: Sequence[RuleResult],
    label: str,
    *,
    max_failed_share: float = 0.05,
    per_rule: Mapping[tuple[str, str], float] | None = None,
) -> None:
    """Stop the run when a rule is broken by more than its share of the rows.

    Args:
        results: from `summarise` and `check_table`.
        label: what the rows are, for the message.
        max_failed_share: share of the rows that may break a rule.
        per_rule: (rule, column) → its own share.

    Raises:
        DataError: GATE_FAILED, naming every broken rule, its rows and three examples.
    """
    limits = per_rule or {}
    broken = [
        result
        for result in results
        if result.severity == "error" and result.share > limits.get((result.rule, result.column), max_failed_share)
    ]
    if not broken:
        return
    sentences = "; ".join(
        f"{r.rule}({r.column}) {r.message}, but {r.failed:,} of {r.checked:,} rows ({r.share:.1%}) do not"
        + (f", e.g. {', '.join(repr(e) for e in r.examples)}" if r.examples else "")
        for r in broken
    )
    raise DataError(
        "GATE_FAILED",
        f"{label}: {sentences}.",
        f"At most {max_failed_share:.0%} of the rows.",
        "Mend the source, or raise max_failed_share; no table was changed.",
    )


def _value(column: str, columns: Sequence[str]) -> Column:
    names = column.split("+")
    if not set(names) <= set(columns):
        return F.lit(None).cast("string")
    return F.concat_ws(", ", *(F.coalesce(F.col(name).cast("string"), F.lit("null")) for name in names))
