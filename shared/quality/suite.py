"""Checking a table against its expectations in one pass, and routing the rows that fail.

A check costs one number per row, a bit for each rule it breaks; the sentences are written only for the rows that fail.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from shared.core.columns import FAILURES
from shared.core.errors import ConfigError, DataError, did_you_mean
from shared.quality.expectations import FAILURE_TYPE, Expectation, Severity, TableExpectation

BROKEN: Final = "_broken"
EXAMPLES: Final = 3
MASK: Final = "***"
_MOST_RULES = 63
_EXAMPLE_LENGTH = 80


@dataclass(frozen=True)
class RuleResult:
    """What became of one rule: rows checked, rows that break it, and up to three of their values.

    For a rule about the whole table, ``scope`` is ``table``, ``checked`` is 1, ``failed`` is 0 or 1 and the example is
    the value that was found.
    """

    rule: str
    column: str
    severity: Severity
    message: str
    checked: int
    failed: int
    examples: tuple[str, ...] = ()
    scope: Literal["rows", "table"] = "rows"

    @property
    def share(self) -> float:
        """Share of the rows that break the rule, 0 to 1; 0 for no rows."""
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
            joined = looked_up.join(expectation.lookup, F.col(expectation.column) == F.col("_known"), "left")
            looked_up = joined.withColumn(f"_passes_{place}", passes).drop("_known")
            passes = F.col(f"_passes_{place}")
        bit = F.lit(1 << place).cast("long")
        broken = broken.bitwiseOR(F.when(F.coalesce(passes, F.lit(False)), F.lit(0).cast("long")).otherwise(bit))
    return looked_up.withColumn(BROKEN, broken).select(*rows.columns, BROKEN)


def is_accepted(expectations: Sequence[Expectation]) -> Column:
    """Tell whether a row with `_broken` breaks no rule of severity ``error``.

    What parsing noted in `_failures` is not looked at: `split` does both.
    """
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
    facts = [
        F.array(*(F.lit(getattr(e, name)) for e in expectations)) for name in ("rule", "column", "message", "severity")
    ]
    values = F.array(*(value_text(e.column, columns) for e in expectations))
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
    return checked.withColumn(FAILURES, _all_failures(rows, expectations)).drop(BROKEN)


def split(rows: DataFrame, expectations: Sequence[Expectation]) -> tuple[DataFrame, DataFrame]:
    """Return (accepted rows, rejected rows with `_failures`); every row is in exactly one, warnings do not reject.

    A row that comes with `_failures` of severity ``error``, from parsing, is rejected too. Both results read ``rows``
    when they are used: write `with_broken` once and filter that where the source is slow or does not stay the same.
    """
    checked = with_broken(rows, expectations)
    is_fine = is_accepted(expectations)
    if FAILURES in rows.columns:
        has_error = F.exists(F.col(FAILURES), lambda failure: failure["severity"] == "error")
        is_fine = is_fine & ~F.coalesce(has_error, F.lit(False))
    rejected = checked.where(~is_fine).withColumn(FAILURES, _all_failures(rows, expectations))
    return checked.where(is_fine).drop(BROKEN, FAILURES), rejected.drop(BROKEN)


def summarise(
    counted: tuple[int, Sequence[int]],
    expectations: Sequence[Expectation],
    examples: Mapping[tuple[str, str], Sequence[str]],
) -> list[RuleResult]:
    """Return one result per rule.

    Args:
        counted: rows, and rows that break each rule, from `count_broken`.
        expectations: the rules of `with_broken`.
        examples: (rule, column) → values, from `count_failures`.
    """
    rows, failed = counted
    return [
        RuleResult(
            rule.rule,
            rule.column,
            rule.severity,
            rule.message,
            rows,
            count,
            tuple(examples.get((rule.rule, rule.column), ())),
        )
        for rule, count in zip(expectations, failed, strict=True)
    ]


def count_broken(checked: DataFrame, expectations: Sequence[Expectation]) -> tuple[int, list[int]]:
    """Return the number of rows, and of rows that break each of the rules of `with_broken`; one pass, one row comes back."""
    bits = [F.count_if(F.getbit(BROKEN, F.lit(place)) == 1) for place in range(len(expectations))]
    rows, *failed = checked.agg(F.count("*"), *(bit.alias(f"_{place}") for place, bit in enumerate(bits))).collect()[0]
    return rows, failed


def count_failures(rejected: DataFrame, pii: Collection[str] = ()) -> dict[tuple[str, str], tuple[int, list[str]]]:
    """Return per (rule, column) of `_failures` the rows and up to three values; those of ``pii`` columns as stars."""
    each = rejected.select(F.explode(FAILURES).alias("f")).select("f.*")
    is_personal = F.arrays_overlap(F.split("column", r"\+"), F.array(*map(F.lit, pii)).cast("array<string>"))
    value = F.when(is_personal & F.col("value").isNotNull(), F.lit(MASK)).otherwise(F.col("value"))
    found = each.groupBy("rule", "column").agg(F.count("*").alias("n"), some(value).alias("examples")).collect()
    return {(row["rule"], row["column"]): (row["n"], row["examples"]) for row in found}


def check_table(
    rows: DataFrame, expectations: Sequence[TableExpectation], pii: Collection[str] = ()
) -> list[RuleResult]:
    """Return one result per rule about the whole table, from one aggregation; the example is the value found."""
    if not expectations:
        return []
    # Spark writes the values: a timestamp made into a Python object would be shown in the machine's time zone.
    values = [F.coalesce(e.value.cast("string"), F.lit("none")).alias(f"value_{i}") for i, e in enumerate(expectations)]
    holds = [F.coalesce(e.passes(e.value), F.lit(False)).alias(f"holds_{i}") for i, e in enumerate(expectations)]
    row = rows.agg(*values, *holds).collect()[0]
    results = []
    for place, e in enumerate(expectations):
        value = MASK if e.column in pii else row[f"value_{place}"]
        failed = int(not row[f"holds_{place}"])
        results.append(RuleResult(e.rule, e.column, e.severity, e.message, 1, failed, (value,) * failed, "table"))
    return results


def gate(
    results: Sequence[RuleResult],
    label: str,
    *,
    max_failed_share: float = 0.05,
    per_rule: Mapping[tuple[str, str], float] | None = None,
    allow_empty: bool = False,
) -> None:
    """Stop the run when a rule of severity ``error`` is broken by more than its share of the rows.

    A rule about the whole table has no share: it stops the run when it is broken. No rows at all stop it too, since
    nothing was shown to hold.

    Args:
        results: from `summarise` and `check_table`.
        label: what the rows are, for the message.
        max_failed_share: share of the rows, 0 to 1, that may break a rule; exactly that share passes.
        per_rule: (rule, column) → its own share; 1 lets a rule about the whole table pass as well.
        allow_empty: True where a table without rows is a normal state.

    Raises:
        ConfigError: ``per_rule`` names a rule that was not checked.
        DataError: GATE_FAILED, naming every broken rule, its rows and three examples.
    """
    limits = _limits(results, max_failed_share, per_rule or {})
    if not allow_empty and any(result.scope == "rows" and not result.checked for result in results):
        raise DataError("GATE_FAILED", f"{label}: no rows to check.", "At least one row.", "Check the source.")
    broken = [
        _sentence(result, limit)
        for result, limit in zip(results, limits, strict=True)
        if result.severity == "error" and result.share > limit
    ]
    if broken:
        raise DataError(
            "GATE_FAILED",
            f"{label} breaks {len(broken)} of {len(results)} rules: {'; '.join(broken)}.",
            "",
            "Mend the source, correct the rule, or allow a larger share (max_failed_share).",
        )


def some(value: Column) -> Column:
    """Return an aggregate: up to three different values as text cut to 80 characters, in order; null is left out.

    Smallest, largest and any: unlike a list of all values they need no memory that grows with the rows.
    """
    short = F.substring(value.cast("string"), 1, _EXAMPLE_LENGTH)
    values = F.array(F.min(short), F.any_value(short, F.lit(True)), F.max(short))
    return F.array_sort(F.array_distinct(F.array_compact(values)))


def value_text(column: str, columns: Collection[str]) -> Column:
    """Return the values a rule is about as text, null as ``null``; nothing when ``column`` names no ``columns``."""
    names = column.split("+")
    if not set(names) <= set(columns):
        return F.lit(None).cast("string")
    return F.concat_ws(", ", *(F.coalesce(F.col(name).cast("string"), F.lit("null")) for name in names))


def _all_failures(rows: DataFrame, expectations: Sequence[Expectation]) -> Column:
    nothing = F.array().cast(FAILURE_TYPE)
    before = F.coalesce(F.col(FAILURES), nothing) if FAILURES in rows.columns else nothing
    # Good rows, nearly all of them, skip building the array.
    return F.when(F.col(BROKEN) == 0, before).otherwise(F.concat(before, failures(expectations, rows.columns)))


def _limits(
    results: Sequence[RuleResult], max_failed_share: float, per_rule: Mapping[tuple[str, str], float]
) -> list[float]:
    known = {(result.rule, result.column): f"{result.rule}({result.column})" for result in results}
    for rule, column in per_rule.keys() - known.keys():
        name = f"{rule}({column})"
        hint = did_you_mean(name, known.values()) or "Remove it."
        raise ConfigError("RULE_UNKNOWN", f"A share is given for {name}.", "A rule that is checked.", hint)
    return [
        per_rule.get((result.rule, result.column), max_failed_share if result.scope == "rows" else 0.0)
        for result in results
    ]


def _sentence(result: RuleResult, limit: float) -> str:
    rule = f"{result.rule}({result.column}) {result.message}"
    examples = ", ".join(map(repr, result.examples))
    if result.scope == "table":
        return f"{rule}, found {examples}"
    counts = f"broken by {result.failed:,} of {result.checked:,} rows ({result.share:.2%}, at most {limit:.2%})"
    return f"{rule}, {counts}" + (f", e.g. {examples}" if examples else "")
