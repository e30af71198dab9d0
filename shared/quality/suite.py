"""Checking a table against its expectations in one pass, and routing the rows that fail.

A check costs one number per row, a bit for each rule it breaks; the sentences are written only for the rows that fail.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from shared.core.columns import FAILURES
from shared.core.errors import ConfigError, DataError
from shared.quality.expectations import FAILURE_TYPE, Expectation, Severity, TableExpectation

BROKEN: Final = "_broken"
EXAMPLES: Final = 3
MASK: Final = "***"
ANY_RULE: Final = "any_rule"
"""The rule, about column ``*``, that stands for all of them: rows kept out for whatever reason."""
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


class Counted(NamedTuple):
    """What `count_broken` counted: rows, rows that break each rule, and rows that are kept out for whatever reason."""

    rows: int
    failed: Sequence[int]
    rejected: int = 0


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

    What parsing noted in `_failures` is not looked at.
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


def failing(checked: DataFrame, expectations: Sequence[Expectation]) -> DataFrame:
    """Return the rows that did not parse or break a rule, warnings included, with all of that in `_failures`.

    Args:
        checked: rows with `_broken`, and with `_failures` where parsing noted any.
        expectations: the rules of `with_broken`.
    """
    before = F.array().cast(FAILURE_TYPE)
    is_failing = F.col(BROKEN) != 0
    if FAILURES in checked.columns:
        before, is_failing = F.coalesce(FAILURES, before), is_failing | F.col(FAILURES).isNotNull()
    return checked.where(is_failing).withColumn(FAILURES, F.concat(before, failures(expectations, checked.columns)))


def summarise(
    counted: Counted, expectations: Sequence[Expectation], examples: Mapping[tuple[str, str], Sequence[str]]
) -> list[RuleResult]:
    """Return one result per rule, and one for all of them together (`ANY_RULE`) where rows are kept out.

    Args:
        counted: from `count_broken`.
        expectations: the rules of `with_broken`.
        examples: (rule, column) → values, from `count_failures`.
    """
    results = [
        RuleResult(
            rule.rule,
            rule.column,
            rule.severity,
            rule.message,
            counted.rows,
            count,
            tuple(examples.get((rule.rule, rule.column), ())),
        )
        for rule, count in zip(expectations, counted.failed, strict=True)
    ]
    if counted.rejected:
        results.append(RuleResult(ANY_RULE, "*", "error", "must be fine in all", counted.rows, counted.rejected))
    return results


def count_broken(checked: DataFrame, expectations: Sequence[Expectation]) -> Counted:
    """Count the rows, those that break each rule of `with_broken`, and those kept out; one pass, one row comes back."""
    is_kept_out = ~is_accepted(expectations)
    if FAILURES in checked.columns:
        is_kept_out = is_kept_out | F.col(FAILURES).isNotNull()
    bits = [F.count_if(F.getbit(BROKEN, F.lit(place)) == 1) for place in range(len(expectations))]
    counts = [F.count("*"), F.count_if(is_kept_out), *bits]
    rows, rejected, *failed = checked.agg(*(count.alias(f"_{i}") for i, count in enumerate(counts))).collect()[0]
    return Counted(rows, failed, rejected)


def count_failures(rows: DataFrame, pii: Collection[str] = ()) -> dict[tuple[str, str], tuple[int, list[str]]]:
    """Return per (rule, column) of `_failures` the rows and three values, or all where there are fewer.

    The most frequent values come first, equals in order; text is cut to 80 characters, null is left out, values of
    ``pii`` columns are stars. Values are counted on the executors and ranked there: at most three of a rule come back.
    """
    each = rows.select(F.explode(FAILURES).alias("f")).select("f.*")
    is_personal = F.arrays_overlap(F.split("column", r"\+"), F.array(*map(F.lit, pii)).cast("array<string>"))
    shown = F.when(is_personal & F.col("value").isNotNull(), F.lit(MASK)).otherwise(F.col("value"))
    short = F.substring(shown, 1, _EXAMPLE_LENGTH).alias("value")
    counts = each.groupBy("rule", "column", short).agg(F.count("*").alias("n"))
    frequent_first = Window.partitionBy("rule", "column").orderBy(F.isnull("value"), F.desc("n"), "value")
    ranked = counts.withColumn("place", F.row_number().over(frequent_first))
    example = F.when(F.col("place") <= EXAMPLES, F.struct("place", "value"))
    examples = F.array_sort(F.collect_list(example))["value"]
    found = ranked.groupBy("rule", "column").agg(F.sum("n").alias("n"), F.array_compact(examples).alias("examples"))
    return {(row["rule"], row["column"]): (row["n"], row["examples"]) for row in found.collect()}


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


def gate(results: Sequence[RuleResult], label: str, *, max_failed_share: float = 0.05) -> None:
    """Stop the run when a rule of severity ``error``, or all together, are broken by more than a share of the rows.

    A rule about the whole table has no share: it stops the run when it is broken. No rows at all stop it too, since
    nothing was shown to hold.

    Args:
        results: from `summarise` and `check_table`.
        label: what the rows are, for the message.
        max_failed_share: share of the rows, 0 to 1, that may break a rule, and that may be kept out; exactly that share
            passes.

    Raises:
        DataError: GATE_FAILED, naming every broken rule, its rows and three examples; where none alone is broken by too
            many rows, naming the worst.
    """
    if any(result.scope == "rows" and not result.checked for result in results):
        raise DataError("GATE_FAILED", f"{label}: no rows to check.", "At least one row.", "Check the source.")
    limits = {"rows": max_failed_share, "table": 0.0}
    over = [result for result in results if result.severity == "error" and result.share > limits[result.scope]]
    rules = [result for result in results if result.rule != ANY_RULE]
    broken = [result for result in over if result.rule != ANY_RULE]
    if broken:
        found = f"{label} breaks {len(broken)} of {len(rules)} rules: {_sentences(broken, max_failed_share)}."
    elif over:
        worst = sorted(
            (rule for rule in rules if rule.failed and rule.severity == "error"), key=lambda rule: -rule.failed
        )[:EXAMPLES]
        found = f"{label} breaks no rule too often, but {_sentences([*over, *worst], max_failed_share)}."
    else:
        return
    advice = "Mend the source, correct the rule, or allow a larger share (max_failed_share)."
    raise DataError("GATE_FAILED", found, "", advice)


def value_text(column: str, columns: Collection[str]) -> Column:
    """Return the values a rule is about as text, null as ``null``; nothing when ``column`` names no ``columns``."""
    names = column.split("+")
    if not set(names) <= set(columns):
        return F.lit(None).cast("string")
    return F.concat_ws(", ", *(F.coalesce(F.col(name).cast("string"), F.lit("null")) for name in names))


def _sentences(results: Sequence[RuleResult], limit: float) -> str:
    return "; ".join(_sentence(result, limit) for result in results)


def _sentence(result: RuleResult, limit: float) -> str:
    rule = f"{result.rule}({result.column}) {result.message}"
    examples = ", ".join(map(repr, result.examples))
    if result.scope == "table":
        return f"{rule}, found {examples}"
    if result.rule == ANY_RULE:
        rule = "all rules together"
    counts = f"broken by {result.failed:,} of {result.checked:,} rows ({result.share:.2%}, at most {limit:.2%})"
    return f"{rule}, {counts}" + (f", e.g. {examples}" if examples else "")
