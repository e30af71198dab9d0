"""Declarations of tables, and the names of the columns the core itself adds.

Plain Python: a vertical's `schema.py` can be read and checked where Spark is not installed.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.core.errors import ConfigError

_IDENTIFIER = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]*\Z")

# Bookkeeping columns start with an underscore, so that no data column can collide with them.
SOURCE_FILE = "_source_file"
INGEST_ID = "_ingest_id"
INGESTED_TS = "_ingested_ts"
RAW = "_raw"
FAILURES = "_failures"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: identifier of the column.
        type: Spark SQL type, e.g. ``double`` or ``decimal(10,2)``.
        description: what a value means; becomes the column comment.
        nullable: False puts a NOT NULL fence on the Delta table.
        unit: unit of a quantity, e.g. ``USD`` or ``days``.
        check: SQL predicate of a CHECK constraint, written in code and never taken from a config.
        pii: True when a value identifies a person.
    """

    name: str
    type: str
    description: str = ""
    nullable: bool = True
    unit: str | None = None
    check: str | None = None
    pii: bool = False

    def __post_init__(self) -> None:
        identifier(self.name)


@dataclass(frozen=True)
class Table:
    """One table: its columns, its key and how Delta keeps it.

    Args:
        name: ``<layer>_<vertical>_<rows>``.
        columns: the columns in order.
        key: columns that identify a row; empty for a log.
        partition_by: columns whose values make folders; for small numbers of values only.
        cluster_by: columns for liquid clustering; excludes ``partition_by``.
        change_feed: True when features are refreshed from the table's changes.
        append_only: True for a log, whose rows Delta then lets nobody change or delete.
        description: one sentence.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    cluster_by: tuple[str, ...] = ()
    change_feed: bool = False
    append_only: bool = False
    description: str = ""
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        identifier(self.name)
        object.__setattr__(self, "_by_name", {column.name: column for column in self.columns})
        if len(self._by_name) != len(self.columns):
            raise ConfigError("SCHEMA_INVALID", f"Table {self.name} names a column twice: {list(self.names)}.")
        for name in (*self.key, *self.partition_by, *self.cluster_by):
            if name not in self._by_name:
                raise ConfigError("SCHEMA_INVALID", f"Table {self.name} has no column '{name}'.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column called ``name``; raises KeyError when there is none."""
        return self._by_name[name]

    def ddl(self, nullable: bool = True) -> str:
        """Return the columns as Spark DDL; with ``nullable=False`` the NOT NULL fences are written too.

        >>> Table("t", (Column("a", "int", nullable=False),)).ddl(nullable=False)
        '`a` int NOT NULL'
        """
        return ", ".join(
            f"`{column.name}` {column.type}" + ("" if nullable or column.nullable else " NOT NULL")
            for column in self.columns
        )


def identifier(name: str) -> str:
    """Return ``name`` when it is a plain SQL identifier.

    Raises:
        ConfigError: when it is not, since names are put into SQL text.

    >>> identifier("tenure_months")
    'tenure_months'
    """
    if not _IDENTIFIER.match(name):
        raise ConfigError(
            "NAME_INVALID", f"{name!r} is not a plain name.", "Letters, digits and underscores.", "Rename it."
        )
    return name


def words_of(name: str) -> list[str]:
    """Return the words of a column's name, in lower case.

    >>> words_of("CustomerID"), words_of("TX_DATETIME"), words_of("Air temperature [K]")
    (['customer', 'id'], ['tx', 'datetime'], ['air', 'temperature', 'k'])
    """
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word for word in re.split(r"[^0-9a-zäöüß]+", parted.lower()) if word]


def plain_names(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Return an identifier for each name, all different and none of ``taken``.

    >>> plain_names(["Umsatz (€)", "umsatz", "2nd", "", "label"], taken=["label"])
    {'Umsatz (€)': 'umsatz', 'umsatz': 'umsatz_2', '2nd': 'c_2nd', '': 'column', 'label': 'label_2'}
    """
    used = set(taken)
    found: dict[str, str] = {}
    for name in names:
        # Letters lose their marks, ä becomes a; what has no plain letter at all becomes `column`.
        ascii_name = unicodedata.normalize("NFKD", "_".join(words_of(name))).encode("ascii", "ignore").decode()
        plain = re.sub(r"_+", "_", re.sub(r"[^a-z0-9]", "_", ascii_name)).strip("_") or "column"
        plain = f"c_{plain}" if plain[0].isdigit() else plain
        number = 1
        while (own := plain if number == 1 else f"{plain}_{number}") in used:
            number += 1
        used.add(own)
        found[name] = own
    return found


def quoted(names: Iterable[str]) -> str:
    """Return the names as a comma-separated list of quoted SQL identifiers.

    >>> quoted(["a", "b"])
    '`a`, `b`'
    """
    return ", ".join(f"`{identifier(name)}`" for name in names)
