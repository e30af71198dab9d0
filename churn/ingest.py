"""Raw files into bronze, silver and quarantine, for each shape of source.

The publishers' own files are read as they are: names are mapped here, and nothing has to be renamed or cleaned before.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn import sample as generator
from churn import schema
from churn.config import LATER_SETTINGS, ChurnConfig
from shared.core.columns import Table
from shared.core.errors import ConfigError, DataError, did_you_mean
from shared.core.parallel import in_parallel
from shared.core.run import KEPT_FROM, StepResult
from shared.delta.made_from import fingerprint, note, noted
from shared.delta.tables import Warehouse, exists, opened
from shared.delta.write import overwrite
from shared.ingest.listing import listing_digest
from shared.ingest.pipeline import Landed, land, publish, take_back
from shared.ingest.source import Source
from shared.quality.expectations import Expectation, in_set, referential, satisfies
from shared.quality.report import COLUMNS, as_rows

QUALITY = "ops_churn_quality"
_RULES = f"table string, {COLUMNS}"
_NOT_FUTURE = "not_future"


def ingest(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Bring the source into bronze, silver and quarantine tables; stop when too many rows are broken."""
    warehouse = Warehouse(config.warehouse)
    _refuse_other_shapes(spark, config, warehouse)
    if _is_streamed(spark, config):
        if config.stream.keeps_tables:
            return StepResult({KEPT_FROM: "score-stream"})
        raise _streamed(config)
    made_from = _made_from(spark, config)  # before reading, so that a file that changes meanwhile is not missed
    landed = _land_all(spark, config, run_id)
    done = in_parallel(spark, [partial(publish, each) for each in landed])
    checked = [{"table": result.table, **row} for result in done for row in as_rows(result.rules)]
    facts = {
        "rows_read": sum(result.rows_read for result in done),
        "rows_written": sum(result.rows_written for result in done),
        "rows_quarantined": sum(result.rows_quarantined for result in done),
    }
    tables = {name: entry for result in done for name, entry in result.tables.items()}
    if any(rule.rule == _NOT_FUTURE and rule.failed for result in done for rule in result.rules):
        made_from = None  # another day it gives other tables
    versions = {name: entry["version"] for name, entry in tables.items()}
    made = note(made_from, versions, run_id=run_id, facts=facts, results=tables)
    overwrite(spark.createDataFrame(checked, _RULES), warehouse.table(QUALITY), schema_may_change=True, note=made)
    return StepResult(facts, tables=tables)


def kept_ingestion(spark: SparkSession, config: ChurnConfig) -> StepResult | None:
    """Return the result of the ingestion that the tables come from, when files, settings, code and tables are the same.

    Tables that a stream feeds are kept whatever the source holds: ingesting it would drop what the stream brought.
    """
    if _is_streamed(spark, config):
        return StepResult({KEPT_FROM: "score-stream"})
    quality = Warehouse(config.warehouse).table(QUALITY)
    if not exists(spark, quality):
        return None
    made = noted(spark, quality, _made_from(spark, config))
    return None if made is None else StepResult({**made["facts"], KEPT_FROM: made["run_id"]}, tables=made["results"])


def _made_from(spark: SparkSession, config: ChurnConfig) -> str | None:
    files = listing_digest(spark, [source for _, source in sources_of(config)])
    settings = config.model_dump(mode="json", exclude={*LATER_SETTINGS, "label", "split"})
    return None if files is None else fingerprint(spark, "churn", settings, files)


def _refuse_other_shapes(spark: SparkSession, config: ChurnConfig, warehouse: Warehouse) -> None:
    """Refuse a warehouse that belongs to another shape, whose features, model and scores this run would replace."""
    own = {table.name: set(table.names) for table in tables_of(config)}
    for name in sorted({table.name for tables in schema.SHAPES.values() for table in tables}):
        there = opened(spark, warehouse.table(name))
        # Two shapes have a table of customers; its columns tell whose it is.
        if there is not None and set(there.columns) != own.get(name):
            raise DataError(
                "WAREHOUSE_OF_ANOTHER_SHAPE",
                f"{config.warehouse} holds {name} of {_shape_of(name, there.columns)}, and the source is of shape "
                f"{config.shape}{' with columns of its own' if config.data else ''}.",
                "One shape in a warehouse.",
                "Use another --warehouse.",
            )


def _shape_of(name: str, columns: Sequence[str]) -> str:
    declared = ((shape, table) for shape, tables in schema.SHAPES.items() for table in tables if table.name == name)
    found = next((shape for shape, table in declared if set(table.names) == set(columns)), None)
    return f"shape {found}" if found else "other columns"


def tables_of(config: ChurnConfig) -> tuple[Table, ...]:
    """Return the declarations of the tables that the source fills, in the order of ingestion."""
    if config.data is None:
        return schema.SHAPES[config.shape]
    declare = schema.own_customers if config.shape == "customers" else schema.own_purchases
    return (declare(config.data.columns),)


def _is_streamed(spark: SparkSession, config: ChurnConfig) -> bool:
    return exists(spark, Warehouse(config.warehouse).table(schema.STREAM_DECISIONS))


def _streamed(config: ChurnConfig) -> DataError:
    return DataError(
        "WAREHOUSE_IS_STREAMED",
        f"The tables in {config.warehouse} hold rows that score-stream brought, which ingesting a source would drop.",
        "A warehouse without a stream.",
        "Send what is new as events, or use another --warehouse; with --set stream.keeps_tables=true the tables stay as "
        "they are.",
    )


def _land_all(spark: SparkSession, config: ChurnConfig, run_id: str) -> list[Landed]:
    """Land every table, or none: when one is refused, the others go back to what they were."""
    landed: list[Landed] = []

    def bring(table: Table, source: Source, customers: DataFrame | None) -> None:
        each = land(
            spark,
            source,
            table,
            Warehouse(config.warehouse),
            ingest_id=run_id,
            expectations=expectations(table, customers),
            max_failed_share=config.max_failed_share,
        )
        landed.append(each)

    def take_all_back() -> None:
        for each in landed:
            take_back(spark, each.table, each.warehouse)

    (first, *others) = sources_of(config)
    with ExitStack() as undo:
        undo.callback(take_all_back)
        bring(*first, None)
        # The others refer to the customers, which come first.
        in_parallel(spark, [partial(bring, *each, landed[0].accepted) for each in others])
        undo.pop_all()  # nothing was raised
    order = [table.name for table, _ in (first, *others)]
    return sorted(landed, key=lambda each: order.index(each.table.name))


def sources_of(config: ChurnConfig) -> list[tuple[Table, Source]]:
    """Return every table of the shape and how it is read, in the order of ingestion.

    Raises:
        ConfigError: `sources` names a table that the shape does not have, or there is nothing at a local `source` that
            a table is to be read from.
    """
    shapes: dict[str, Callable[[str], Sequence[tuple[Table, Source]]]] = {
        "customers": _telco,
        "purchases": _cdnow,
        "subscriptions": _event_tables,
    }
    path = config.source or generator.folder(config)
    sources = [(tables_of(config)[0], Source(path=path))] if config.data else shapes[config.shape](path)
    known = {table.name.removeprefix("silver_churn_"): table for table, _ in sources}
    for name in config.sources:
        if name not in known:
            found = f"sources.{name} names no table of shape {config.shape}."
            raise ConfigError("TABLE_UNKNOWN", found, f"Some of {sorted(known)}.", did_you_mean(name, known))
    own = {known[name]: source for name, source in config.sources.items()}
    from_source = [t for t in known.values() if t not in own or not (own[t].path or own[t].database)]
    if config.source and from_source and "://" not in path and not Path(path).exists():
        raise ConfigError("SOURCE_MISSING", f"Nothing at {path}.", "A folder or file.", "Check --source.")
    return [(table, own[table].over(source) if table in own else source) for table, source in sources]


def _telco(path: str) -> Sequence[tuple[Table, Source]]:
    file = _inside(path, "Telco-Customer-Churn.csv")
    return [(schema.TELCO, Source(format="csv", path=file, columns=schema.TELCO_COLUMNS))]


def _cdnow(path: str) -> Sequence[tuple[Table, Source]]:
    file = _inside(path, "CDNOW_master.txt.gz", "CDNOW_master.txt")
    return [
        (
            schema.PURCHASES,
            Source(
                format="words",
                path=file,
                columns=schema.CDNOW_COLUMNS,
                date_format="yyyyMMdd",
                timestamp_format="yyyyMMdd",
            ),
        )
    ]


def _event_tables(path: str) -> Sequence[tuple[Table, Source]]:
    """One folder for each table: `customers/`, `subscriptions/`, `usage/`, `payments/`, `support/`."""
    return [
        (table, Source(format=kind, path=f"{path.rstrip('/')}/{folder}"))
        for folder, (table, kind) in generator.FILES.items()
    ]


def _inside(path: str, *names: str) -> str:
    """Return the first of ``names`` that is in the folder ``path``, else ``path`` itself: a file, a URI, one's own folder."""
    return next((str(Path(path) / name) for name in names if (Path(path) / name).is_file()), path)


def expectations(table: Table, customers: DataFrame | None) -> list[Expectation]:
    """Return the rules beyond the declaration's own; with ``customers`` the customer must be one of them."""
    rules: list[Expectation] = []
    if table is schema.TELCO:
        rules += [in_set("contract", ["Month-to-month", "One year", "Two year"])]
    times = [name for name in (schema.EVENT_TS, "signup_date") if name in table.names]
    for name in (name for name in times if table.column(name).type != "string"):
        # What is missing, or was no date, is the business of other rules.
        is_past = F.col(name).isNull() | (F.col(name) <= F.current_timestamp())
        rules.append(satisfies(_NOT_FUTURE, name, is_past, "must not lie in the future"))
    if customers is not None:
        rules.append(referential(schema.CUSTOMER_ID, customers, schema.CUSTOMER_ID))
    return rules
