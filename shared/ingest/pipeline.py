"""Ingestion of a whole source: bronze as it came, silver what passed, quarantine what did not.

The source is read once, into bronze, with what is wrong with each row beside it; the gate looks at that, and silver and
quarantine are made from it. When the gate refuses the data, bronze goes back to the version that silver was made from.
Each write is one transaction, so a run that is killed is mended by the same command.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core import clock
from shared.core.columns import FAILURES, INGEST_ID, RAW, SOURCE_FILE, Table
from shared.core.errors import DataError
from shared.core.parallel import in_parallel
from shared.delta.read import history, read
from shared.delta.tables import TableRef, Warehouse, create, exists, opened
from shared.delta.write import Write, overwrite, restore
from shared.ingest import readers
from shared.ingest.failures import RECORD_RULES, Parsed
from shared.ingest.names import wrong_encoding
from shared.ingest.problems import explained
from shared.ingest.quarantine import is_fine, rejected
from shared.ingest.source import Source
from shared.quality import suite
from shared.quality.expectations import Expectation, TableExpectation, not_null, satisfies, unique
from shared.quality.suite import RuleResult

_MADE_FROM = "bronze_version"
_SEARCHED = (INGEST_ID,)  # a stream looks for its own rows, batch after batch


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


@dataclass(frozen=True)
class Landed:
    """A source that is in bronze and passed the gate, and that nobody else sees yet.

    Args:
        table: declaration of the silver table.
        warehouse: where the tables are.
        rows: what is in bronze, judged.
        rules: what it was judged by.
        results: what became of each rule.
        written: the write to bronze.
    """

    table: Table
    warehouse: Warehouse
    rows: DataFrame
    rules: tuple[Expectation, ...]
    results: tuple[RuleResult, ...]
    written: Write

    @property
    def accepted(self) -> DataFrame:
        """The rows that silver is going to have."""
        return self.rows.where(is_fine(self.rules)).select(*self.table.names)


def land(
    spark: SparkSession,
    source: Source,
    table: Table,
    warehouse: Warehouse,
    *,
    ingest_id: str,
    expectations: Sequence[Expectation] = (),
    table_expectations: Sequence[TableExpectation] = (),
    max_failed_share: float = 0.05,
) -> Landed:
    """Bring ``source`` into bronze and through the gate; silver and quarantine stay as they are.

    The declaration's own rules are always checked: values where none may be missing, unique keys, checks.

    Args:
        spark: the session.
        source: where the rows are.
        table: declaration of the silver table, named ``silver_…``.
        warehouse: where the tables go.
        ingest_id: recorded with the rows of bronze and quarantine.
        expectations: further rules about rows.
        table_expectations: rules about the whole table.
        max_failed_share: share of the rows that may break a rule before the run stops.

    Raises:
        ConfigError, EnvironmentProblem: the source cannot be reached.
        DataError: the source is broken or empty, or the gate refused it; the tables are as they were.
    """
    bronze, silver, _ = (warehouse.table(name) for name in names(table))
    rules = (*declared(table), *expectations)
    if exists(spark, silver):
        create(spark, silver, table)  # refuses a table of another shape before anything is written
    judged = judge(readers.read(spark, source, table), table, rules, ingest_id)
    with explained(source.label):
        written = overwrite(judged, bronze, schema_may_change=True, searched_by=_SEARCHED)
    with ExitStack() as undo:
        undo.callback(take_back, spark, table, warehouse)
        rows = read(spark, bronze, written.version)
        results = check(rows, rules, table, source)
        results += suite.check_table(rows.where(is_fine(rules)), table_expectations)
        suite.gate(results, f"{source.label} → {table.name}", max_failed_share=max_failed_share)
        undo.pop_all()  # nothing was raised
    return Landed(table, warehouse, rows, rules, tuple(results), written)


def publish(landed: Landed) -> IngestResult:
    """Replace silver and quarantine by what landed.

    The two are written at once. Where one cannot be, the other may be new already; doing both again with the same source
    gives the tables of an undisturbed run. Of several tables that belong together, land all before the first is
    published.

    Raises:
        DataError: rows were lost or doubled.
    """
    table, spark = landed.table, landed.rows.sparkSession
    bronze, silver, quarantine = (landed.warehouse.table(name) for name in names(table))
    put_aside = rejected(landed.rows, landed.rules, clock.utc_now())
    if all(result.rule != suite.ANY_RULE for result in landed.results):
        put_aside = put_aside.limit(0)  # none was counted, so none need be looked for
    if not exists(spark, silver):
        create(spark, silver, table)
    note = {_MADE_FROM: landed.written.version}
    aside, kept = in_parallel(
        spark,
        [
            lambda: overwrite(put_aside, quarantine, schema_may_change=True, searched_by=_SEARCHED),
            lambda: overwrite(landed.accepted, silver, note=note),
        ],
    )
    tables = {
        ref.label: {"path": ref.path or ref.name, "version": write.version, "rows": write.rows}
        for ref, write in ((bronze, landed.written), (silver, kept), (quarantine, aside))
    }
    return accounted(IngestResult(table.name, landed.written.rows, kept.rows, aside.rows, landed.results, tables))


def take_back(spark: SparkSession, table: Table, warehouse: Warehouse) -> None:
    """Undo `land`: bronze goes back to the version that silver was last made from; to no rows, when silver has none.

    The version before this run's would not do: a run that was killed before its gate has left its rows there. Silver's
    commit names the version; where Delta's log no longer holds that commit, bronze stays until the next ingestion.
    """
    bronze, silver, _ = (warehouse.table(name) for name in names(table))
    kept = opened(spark, silver)
    version = None if kept is None else _made_from(spark, silver)
    if version is not None:
        restore(spark, bronze, version)
    elif kept is None or kept.isEmpty():
        overwrite(read(spark, bronze).limit(0), bronze)


def _made_from(spark: SparkSession, silver: TableRef) -> int | None:
    """Return the version of bronze in the note of silver's newest commit that has one."""
    version = F.get_json_object("userMetadata", f"$.{_MADE_FROM}").cast("long").alias("version")
    noted = history(spark, silver).orderBy(F.desc("version")).select(version)
    row = noted.where("version IS NOT NULL").first()
    return None if row is None else int(row["version"])


def judge(parsed: Parsed, table: Table, rules: Sequence[Expectation], ingest_id: str) -> DataFrame:
    """Return the rows of bronze: the declared columns, where they came from, the raw text of rejected rows, what is wrong."""
    checked = suite.with_broken(parsed.rows, rules)
    is_rejected = parsed.failures.isNotNull() | ~suite.is_accepted(rules)
    return checked.select(
        *table.names,
        SOURCE_FILE,
        F.when(is_rejected, F.col(RAW)).alias(RAW),
        parsed.failures.alias(FAILURES),
        suite.BROKEN,
        F.lit(ingest_id).alias(INGEST_ID),
    )


def check(judged: DataFrame, rules: Sequence[Expectation], table: Table, source: Source) -> list[RuleResult]:
    """Return what became of each rule, those about parsing that were broken included.

    Raises:
        DataError: there are no rows, or text is not in the encoding of the source.
    """
    counted = suite.count_broken(judged, rules)
    rows = counted.rows
    if not rows:
        raise DataError("EMPTY_SOURCE", f"{source.label} has no rows.", "At least one.", "Check the export.")
    failed: dict[tuple[str, str], tuple[int, list[str]]] = {}
    if any(counted.failed) or counted.rejected:
        failed = suite.count_failures(suite.failing(judged, rules), _hidden(rules, table))
    results = suite.summarise(counted, rules, {key: examples for key, (_, examples) in failed.items()})
    known = {(rule.rule, rule.column) for rule in rules}
    for (rule, column), (count, examples) in sorted(failed.items()):
        if rule == "encoding":
            raise wrong_encoding(source.label, source, next(iter(examples), ""))
        if (rule, column) not in known:
            message = RECORD_RULES.get(rule) or f"must be {table.column(column).type}"
            results.append(RuleResult(rule, column, "error", message, rows, count, tuple(examples)))
    return results


def accounted(result: IngestResult) -> IngestResult:
    """Return the result when every row read is in silver or in quarantine.

    Raises:
        DataError: rows were lost or doubled.
    """
    if result.rows_read != result.rows_written + result.rows_quarantined:
        raise DataError(
            "ROWS_LOST",
            f"{result.table}: read {result.rows_read:,}, wrote {result.rows_written:,}, "
            f"quarantined {result.rows_quarantined:,}.",
            "Read = written + quarantined.",
            "Report this: it is a defect of the product.",
        )
    return result


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


def _hidden(rules: Sequence[Expectation], table: Table) -> set[str]:
    """Return the columns of failures whose values may show a person: whole records too, when any column may."""
    pii = {column.name for column in table.columns if column.pii}
    together = {rule.column for rule in rules if pii & set(rule.column.split("+"))}
    return pii | together | ({""} if pii else set())
