"""Where tables are, by path or by catalog name, and how one is made from its declaration.

A CHECK that is null counts as broken: a check on a nullable column has to say what null means.
"""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.types import StructField, StructType

from shared.core.columns import Column, Table, identifier, quoted
from shared.core.errors import ConfigError, DataError, EnvironmentProblem
from shared.delta.problems import explained

_CATALOG = "catalog:"
_URI = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]+:/")
_UNQUOTABLE = re.compile(r"[`\x00-\x1f\x7f]")
_ABSENT = {"PATH_NOT_FOUND", "DELTA_TABLE_NOT_FOUND", "DELTA_MISSING_DELTA_TABLE", "DELTA_PATH_DOES_NOT_EXIST"}
_ABSENT |= {"TABLE_OR_VIEW_NOT_FOUND", "SCHEMA_NOT_FOUND"}
_UNORDERED = ("boolean", "binary", "array", "map", "struct", "variant")
# What a table has from the write that makes it.
MADE_WITH: Final = {
    "delta.enableDeletionVectors": "false",  # other readers cannot follow them
    # Delta drops the log of versions after 30 days, and with it the versions that `reproduce` reads.
    "delta.logRetentionDuration": "interval 365 days",
}


@dataclass(frozen=True)
class TableRef:
    """A Delta table: a folder when ``path`` is set, else the catalog name ``name``."""

    name: str
    path: str | None

    @property
    def sql(self) -> str:
        """The table as SQL text names it.

        >>> TableRef("main.churn.t", None).sql
        '`main`.`churn`.`t`'
        >>> TableRef("t", "/data/my tables/t").sql
        'delta.`/data/my tables/t`'
        """
        if self.path is not None:
            return f"delta.`{self.path}`"
        return ".".join(f"`{part}`" for part in self.name.split("."))

    @property
    def label(self) -> str:
        """Short name for messages."""
        return self.name.split(".")[-1]

    @property
    def location(self) -> str:
        """The folder, or the whole catalog name."""
        return self.path or self.name

    def beside(self, name: str) -> "TableRef":
        """Return the table called ``name`` in the same warehouse.

        >>> TableRef("t", "/data/t").beside("u"), TableRef("main.churn.t", None).beside("u")
        (TableRef(name='u', path='/data/u'), TableRef(name='main.churn.u', path=None))
        """
        if self.path is not None:
            return TableRef(name, f"{self.path.rpartition('/')[0]}/{name}")
        return TableRef(f"{self.name.rpartition('.')[0]}.{name}", None)


@dataclass(frozen=True)
class Warehouse:
    """A folder or URI of tables, or ``catalog:<schema>`` or ``catalog:<catalog>.<schema>``.

    Raises:
        ConfigError: the root is empty or holds what SQL cannot quote (a backtick, a control character).
    """

    root: str

    def __post_init__(self) -> None:
        parts = self.root.removeprefix(_CATALOG).split(".")
        is_named = not self.root.startswith(_CATALOG) or (len(parts) < 3 and all(part.strip() for part in parts))
        if not self.root.strip() or not is_named or _UNQUOTABLE.search(self.root):
            raise ConfigError(
                "WAREHOUSE_INVALID",
                f"{self.root!r} cannot be a warehouse.",
                "A folder or URI without backticks and control characters, or catalog:<catalog>.<schema>.",
                "Set --warehouse.",
            )

    def table(self, name: str) -> TableRef:
        """Return the table called ``name``; a relative folder is taken from the working folder.

        Raises:
            ConfigError: the name is no plain identifier.
        """
        identifier(name)
        if self.root.startswith(_CATALOG):
            return TableRef(f"{self.root.removeprefix(_CATALOG)}.{name}", None)
        root = self.root.rstrip("/") if _URI.match(self.root) else str(Path(self.root).absolute())
        return TableRef(name, f"{root}/{name}")


def check_writable(warehouse: Warehouse) -> None:
    """Make the folder of a local warehouse and try to write into it; other URIs and catalogs are not probed.

    Raises:
        EnvironmentProblem: the folder cannot be made or written.
    """
    folder = warehouse.root.removeprefix("file://")
    if _URI.match(folder) or folder.startswith(_CATALOG):
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise EnvironmentProblem(
            "WAREHOUSE_NOT_WRITABLE",
            f"Cannot write to {folder}: {error.strerror}.",
            "A folder this user may write to.",
            "Choose another with --warehouse, or change its permissions.",
        ) from error


def open_table(spark: SparkSession, ref: TableRef, version: int | None = None) -> DataFrame:
    """Return the table's rows, or raise Spark's own AnalysisException; see `shared.delta.read.read`."""
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    rows = reader.load(ref.path) if ref.path is not None else reader.table(ref.sql)
    _ = rows.schema  # Spark Connect looks at the table only when asked for something
    return rows


def opened(spark: SparkSession, ref: TableRef) -> DataFrame | None:
    """Return the table's rows, or None where there is no table; one that cannot be read raises Spark's error."""
    try:
        return open_table(spark, ref)
    except AnalysisException as error:
        if is_absent(error):
            return None
        raise


def exists(spark: SparkSession, ref: TableRef) -> bool:
    """Tell whether the table is there; a table that is there but cannot be read raises Spark's error."""
    return opened(spark, ref) is not None


def is_absent(error: PySparkException) -> bool:
    """Tell whether Spark's error says that there is no such table, rather than that it cannot be read."""
    return error.getCondition() in _ABSENT


def detail(spark: SparkSession, ref: TableRef) -> Row:
    """Return Delta's own record of the table: ``id``, ``location``, ``properties``, ``numFiles``, …."""
    return spark.sql(f"DESCRIBE DETAIL {ref.sql}").collect()[0]


def create(spark: SparkSession, ref: TableRef, table: Table) -> None:
    """Make the table from its declaration: NOT NULL, CHECK, comments, change feed, layout, bounds, deletion vectors off.

    A table that is there already keeps its rows; its checks are brought in line with the declaration.

    Raises:
        ConfigError: a check is no predicate on the columns.
        DataError: the table is there with other columns, or its rows break a check that it did not have yet.
    """
    declared = spark.createDataFrame([], table.ddl())
    for column in table.columns:
        _check_predicate(declared, table, column)
    with explained(ref):
        there = opened(spark, ref)
        if there is None:
            spark.sql(_create_statement(ref, table)).collect()
        else:
            _check_columns(there.schema, declared.schema, ref, table)
            _align_checks(spark, ref, table)


def _create_statement(ref: TableRef, table: Table) -> str:
    columns = ", ".join(_column(column) for column in table.columns)
    clauses = [f"CREATE TABLE IF NOT EXISTS {ref.sql} ({columns}) USING delta"]
    if table.partition_by:
        clauses.append(f"PARTITIONED BY ({quoted(table.partition_by)})")
    elif table.cluster_by:
        clauses.append(f"CLUSTER BY ({quoted(table.cluster_by)})")
    clauses.append(f"COMMENT {literal(table.description)}")
    properties = {
        **MADE_WITH,
        "delta.enableChangeDataFeed": str(table.change_feed).lower(),
        "delta.appendOnly": str(table.append_only).lower(),
        # One commit for all constraints, instead of an ALTER TABLE each.
        **{_check_key(column): column.check for column in table.columns if column.check},
    }
    if searched := _searched(table):
        properties["delta.dataSkippingStatsColumns"] = quoted(searched)
    listed = ", ".join(f"{literal(key)} = {literal(value)}" for key, value in properties.items())
    return " ".join([*clauses, f"TBLPROPERTIES ({listed})"])


def _searched(table: Table) -> list[str]:
    """Return the columns whose least and greatest value Delta is to keep for each file: key, clustering and times.

    Not those that partition, which have one value in a file, and those whose type has no order. An empty list means
    that Delta chooses. The range of any other column is nearly the same in every file, so it lets no search skip one,
    and costs a tenth of each write.
    """
    chosen = {*table.key, *table.cluster_by}
    return [
        column.name
        for column in table.columns
        if column.name not in table.partition_by
        and (column.name in chosen or column.type in {"date", "timestamp"})
        and not column.type.startswith(_UNORDERED)
    ]


def _column(column: Column) -> str:
    comment = f"{column.description} [{column.unit}]" if column.unit else column.description
    return f"`{column.name}` {column.type}{'' if column.nullable else ' NOT NULL'} COMMENT {literal(comment)}"


def _check_name(column: Column) -> str:
    return f"{column.name.lower()}_check"


def _check_key(column: Column) -> str:
    return f"delta.constraints.{_check_name(column)}"


def _check_predicate(declared: DataFrame, table: Table, column: Column) -> None:
    # Delta stores a property unseen: a misspelt column would refuse every row of the first write.
    if column.check:
        try:
            _ = declared.where(column.check).schema
        except AnalysisException as error:
            raise ConfigError(
                "CHECK_INVALID",
                f"The check of {table.name}.{column.name} is {column.check!r}.",
                f"A predicate on the columns {list(table.names)}.",
                "Edit the schema declaration.",
            ) from error


def _check_columns(found: StructType, declared: StructType, ref: TableRef, table: Table) -> None:
    fenced = [StructField(field.name, field.dataType, table.column(field.name).nullable) for field in declared]
    here, there = _described(fenced), _described(list(found))
    if here != there:
        raise DataError(
            "TABLE_DIFFERS",
            f"{ref.label} in {ref.location} has {sorted(there - here)} where its declaration has {sorted(here - there)}.",
            "A table made from this declaration.",
            "Use another --warehouse, or remove the table.",
        )


def _described(fields: list[StructField]) -> set[str]:
    return {f"{field.name} {field.dataType.simpleString()}{'' if field.nullable else ' NOT NULL'}" for field in fields}


def _align_checks(spark: SparkSession, ref: TableRef, table: Table) -> None:
    # Not from `detail`, which also counts the files of the table.
    listed = spark.sql(f"SHOW TBLPROPERTIES {ref.sql}").collect()
    properties: dict[str, str] = {row["key"]: row["value"] for row in listed}
    for column in table.columns:
        before = properties.get(_check_key(column))
        if before == column.check:
            continue
        if before:
            spark.sql(f"ALTER TABLE {ref.sql} DROP CONSTRAINT {_check_name(column)}").collect()
        if column.check:
            spark.sql(f"ALTER TABLE {ref.sql} ADD CONSTRAINT {_check_name(column)} CHECK ({column.check})").collect()


def literal(value: object) -> str:
    r"""Return a value as a SQL literal.

    Raises:
        TypeError: the value is none of text, bool, number, date, timestamp and None.

    >>> literal("it's"), literal(True), literal(date(2026, 1, 31)), literal(None)
    ("'it\\'s'", 'true', "DATE'2026-01-31'", 'NULL')
    """
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case int() | float() | Decimal():
            return str(value)
        case datetime():
            return f"TIMESTAMP'{value.isoformat(sep=' ')}'"
        case date():
            return f"DATE'{value.isoformat()}'"
        case str():
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            return f"'{escaped}'"
    raise TypeError(f"{value!r} is a {type(value).__name__}, which has no SQL literal here")


def predicate(partition: Mapping[str, object]) -> str:
    """Return the SQL predicate that holds for the rows of ``partition`` (column → value; None matches null).

    >>> predicate({"day": date(2026, 1, 31), "region": None})
    "`day` = DATE'2026-01-31' AND `region` IS NULL"
    """
    return " AND ".join(
        f"`{identifier(name)}` IS NULL" if value is None else f"`{name}` = {literal(value)}"
        for name, value in ((identifier(name), value) for name, value in partition.items())
    )
