"""Ingestion of a whole source: bronze as it came, silver what passed, quarantine what did not.

Bronze is written first, in the only pass over the source, with each row's failures beside it; silver and quarantine are
read from it. When the gate refuses the data, bronze goes back to what it was and the others are not touched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.columns import FAILURES, INGEST_ID, RAW, SOURCE_FILE, Table
from shared.core.errors import AcceleratorError, DataError
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse, create, exists
from shared.delta.write import overwrite, restore
from shared.ingest import readers
from shared.ingest.problems import explained
from shared.ingest.source import Source
from shared.quality.expectations import FAILURE_TYPE, Expectation, TableExpectation, not_null, satisfies, unique
from shared.quality import suite
from shared.quality.suite import RuleResult


@dataclass(frozen=True)
class IngestResult:
    """What an ingestion did; ``rows_read = rows_written + rows_quarantined``.

    Args:
        table: name of the silver table.
        rows_read: records in the source.
        rows_written: rows in silver.
        rows_quarantined: rows in quarantine.
        rules: what became of each rule.
        tables: per table its path, version and rows.
    """

    table: str
    rows_read: int
    rows_written: int
    rows_quarantined: int
    rules: tuple[RuleResult, ...]
    tables: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def ingest(
    spark: SparkSession,
    source: Source,
    table: Table,
    warehouse: Warehouse,
    *,
    ingest_id: str,
    expectations: Sequence[Expectation] = (),
    table_expectations: Sequence[TableExpectation] = (),
    max_failed_share: float = 0.05,
) -> IngestResult:
    """Replace the bronze, silver and quarantine tables of ``table`` by what ``source`` holds.

    The declaration's own rules are always checked: values where none may be missing, unique keys, checks. Doing it
    again with the same source gives the same tables.

    Args:
        spark: the session.
        source: where the rows are.
        table: declaration of the silver table, named ``silver_…``.
        warehouse: where the tables go.
        ingest_id: recorded with the rows that are put aside.
        expectations: further rules about rows.
        table_expectations: rules about the whole table.
        max_failed_share: share of the rows that may break a rule before the run stops.

    Raises:
        ConfigError, EnvironmentProblem: the source cannot be reached.
        DataError: the source is broken or empty, or the gate refused it; no table was changed.
    """
    bronze, silver, quarantine = (warehouse.table(name) for name in names(table))
    rules = [*declared(table), *expectations]
    label = f"{source.path or (source.database.table if source.database else '')} → {table.name}"
    before = latest_version(spark, bronze) if exists(spark, bronze) else None
    parsed = readers.read(spark, source, table)
    is_fine = F.col(FAILURES).isNull() & suite.is_accepted(rules)
    try:
        with explained(source.path or label):
            landed = overwrite(suite.with_broken(parsed, rules), bronze, schema_may_change=True)
        if not landed.rows:
            raise DataError("EMPTY_SOURCE", f"{label}: no rows.", "At least one.", "Check the export.")
        written = read(spark, bronze)
        rejected = _rejected(written.where(~is_fine), rules, table, ingest_id)
        results = _results(written, rejected, rules, table) + suite.check_table(written, table_expectations)
        suite.gate(results, label, max_failed_share=max_failed_share)
    except AcceleratorError:
        if before is not None and latest_version(spark, bronze) != before:
            restore(spark, bronze, before)
        raise
    aside = overwrite(rejected, quarantine, schema_may_change=True)
    create(spark, silver, table)
    kept = overwrite(written.where(is_fine).select(*table.names), silver)
    if landed.rows != kept.rows + aside.rows:
        raise DataError(
            "ROWS_LOST",
            f"{label}: read {landed.rows:,}, wrote {kept.rows:,}, quarantined {aside.rows:,}.",
            "Read = written + quarantined.",
            "Report this: it is a defect of the product.",
        )
    tables = {
        ref.label: {"path": ref.path or ref.name, "version": write.version, "rows": write.rows}
        for ref, write in ((bronze, landed), (silver, kept), (quarantine, aside))
    }
    return IngestResult(table.name, landed.rows, kept.rows, aside.rows, tuple(results), tables)


def names(table: Table) -> tuple[str, str, str]:
    """Return the names of the bronze, silver and quarantine tables.

    >>> names(Table("silver_churn_payments", ()))
    ('bronze_churn_payments', 'silver_churn_payments', 'quarantine_churn_payments')
    """
    rest = table.name.removeprefix("silver_")
    return f"bronze_{rest}", f"silver_{rest}", f"quarantine_{rest}"


def declared(table: Table) -> list[Expectation]:
    """Return the rules that follow from a declaration: not null, checks, unique key."""
    rules = [not_null(column.name) for column in table.columns if not column.nullable]
    rules += [
        satisfies("check", column.name, _holds(column.check), f"must satisfy {column.check}")
        for column in table.columns
        if column.check
    ]
    if table.key:
        rules.append(unique(*table.key))
    return rules


def _holds(check: str) -> Column:
    # A null value is not_null's business where it matters.
    return F.coalesce(F.expr(check), F.lit(True))


def _results(
    written: DataFrame, rejected: DataFrame, rules: Sequence[Expectation], table: Table
) -> list[RuleResult]:
    """Count broken rules; the rows that fail are looked at a second time, for parse failures and examples."""
    counts = suite.count_broken(written)
    pii = {column.name for column in table.columns if column.pii}
    failed = suite.count_failures(rejected, pii)
    results = suite.summarise(counts, rules, {key: examples for key, (_, examples) in failed.items()})
    known = {(rule.rule, rule.column) for rule in rules}
    rows = sum(counts.values())
    for (rule, column), (count, examples) in sorted(failed.items()):
        if (rule, column) not in known:
            message = f"must be {table.column(column).type}" if rule == "type" else "must have the form of a record"
            results.append(RuleResult(rule, column, "error", message, rows, count, tuple(examples)))
    return results


def _rejected(rows: DataFrame, rules: Sequence[Expectation], table: Table, ingest_id: str) -> DataFrame:
    # Rows that parsed but broke a rule have no raw text of their own; their values as JSON stand in for it.
    raw = F.coalesce(F.col(RAW), F.to_json(F.struct(*table.names)))
    parsing = F.coalesce(F.col(FAILURES), F.array().cast(FAILURE_TYPE))
    both = F.concat(parsing, suite.failures(rules, table.names))
    return rows.select(SOURCE_FILE, F.lit(ingest_id).alias(INGEST_ID), raw.alias(RAW), both.alias(FAILURES))
