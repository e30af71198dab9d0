"""Where tables are, by path or by catalog name, and how one is made from its declaration."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from shared.core.columns import Column, Table, identifier, quoted
from shared.core.errors import ConfigError, EnvironmentProblem

_CATALOG = "catalog:"


@dataclass(frozen=True)
class TableRef:
    """A Delta table: a folder when ``path`` is set, else the catalog name ``name``."""

    name: str
    path: str | None

    @property
    def sql(self) -> str:
        """The table as SQL text names it."""
        if self.path is not None:
            return f"delta.`{self.path}`"
        return ".".join(f"`{identifier(part)}`" for part in self.name.split("."))

    @property
    def label(self) -> str:
        """Short name for messages."""
        return self.name.split(".")[-1]


@dataclass(frozen=True)
class Warehouse:
    """A folder or URI of tables, or ``catalog:<catalog>.<schema>``."""

    root: str

    def table(self, name: str) -> TableRef:
        """Return the table called ``name``.

        Raises:
            ConfigError: the name is no identifier, or the root holds a backtick.
        """
        identifier(name)
        if self.root.startswith(_CATALOG):
            return TableRef(f"{self.root.removeprefix(_CATALOG)}.{name}", None)
        if "`" in self.root:
            raise ConfigError("WAREHOUSE_INVALID", f"The warehouse {self.root!r} holds a backtick.", "", "Rename it.")
        is_local = "://" not in self.root
        root = str(Path(self.root).absolute()) if is_local else self.root.rstrip("/")
        return TableRef(name, f"{root}/{name}")


def check_writable(warehouse: Warehouse) -> None:
    """Raise EnvironmentProblem when a local warehouse cannot be written; URIs and catalogs are not probed."""
    if "://" in warehouse.root or warehouse.root.startswith(_CATALOG):
        return
    try:
        Path(warehouse.root).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=warehouse.root):
            pass
    except OSError as error:
        raise EnvironmentProblem(
            "WAREHOUSE_NOT_WRITABLE", f"Cannot write to {warehouse.root}: {error.strerror}.", "", "Use --warehouse."
        ) from error


def exists(spark: SparkSession, ref: TableRef) -> bool:
    """Tell whether the table is there and is a Delta table."""
    try:
        spark.sql(f"DESCRIBE HISTORY {ref.sql} LIMIT 1").take(1)
    except AnalysisException:
        return False
    return True


def create(spark: SparkSession, ref: TableRef, table: Table) -> None:
    """Make the table from its declaration when it is not there: NOT NULL, CHECK, comments, properties, layout."""
    if exists(spark, ref):
        return
    columns = ", ".join(_column(column) for column in table.columns)
    clauses = [f"CREATE TABLE IF NOT EXISTS {ref.sql} ({columns}) USING delta"]
    if table.partition_by:
        clauses.append(f"PARTITIONED BY ({quoted(table.partition_by)})")
    elif table.cluster_by:
        clauses.append(f"CLUSTER BY ({quoted(table.cluster_by)})")
    clauses.append(f"COMMENT {_literal(table.description)}")
    spark.sql(" ".join([*clauses, f"TBLPROPERTIES ({_properties(table)})"]))


def _properties(table: Table) -> str:
    properties = {
        "delta.enableDeletionVectors": "false",  # other readers cannot follow them
        "delta.enableChangeDataFeed": str(table.change_feed).lower(),
        # One commit for all constraints, instead of an ALTER TABLE each.
        **{f"delta.constraints.{column.name}_check": column.check for column in table.columns if column.check},
    }
    return ", ".join(f"{_literal(key)} = {_literal(value)}" for key, value in properties.items())


def _column(column: Column) -> str:
    comment = f"{column.description} [{column.unit}]" if column.unit else column.description
    return f"`{column.name}` {column.type}{'' if column.nullable else ' NOT NULL'} COMMENT {_literal(comment)}"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
