"""Checking the names a source has against the declaration, before any row is read.

Names are compared exactly: a column that differs in case is another column, and the message says which it resembles.
"""

from collections.abc import Mapping, Sequence

from shared.core.columns import Table
from shared.core.errors import ConfigError, DataError, did_you_mean
from shared.ingest.source import Source

_DELIMITERS = (",", ";", "\t", "|", ":")
_REPLACED = "\ufffd"


def header_names(header: Sequence[str], source: Source, table: Table, file: str) -> list[str]:
    """Return the declared name of every header field, '' for an ignored one; blanks around names do not count.

    Raises:
        DataError: the delimiter or the encoding is wrong, or columns are missing or not declared.
    """
    names = [field.lstrip("\ufeff").strip().strip('"').strip() for field in header]
    if any(_REPLACED in name or "\x00" in name for name in names):
        raise wrong_encoding(file, source)
    if len(names) == 1 and len(table.columns) > 1:
        likely = max(_DELIMITERS, key=names[0].count)
        if likely in names[0] and source.format == "csv":
            raise DataError(
                "WRONG_DELIMITER",
                f"{file} has one field per line when split at {source.delimiter!r}.",
                f"It looks like {likely!r}.",
                "Set delimiter for this source.",
            )
    mapped = [declared_name(name, source) for name in names]
    check_names([name for name in mapped if name is not None], source, table, file)
    return [name if name and name in table.names else "" for name in mapped]


def declared_name(name: str, source: Source) -> str | None:
    """Return the declared name of a source's column, None for one that is ignored, whose name another may then have.

    >>> source = Source(columns={"revenue": "amount"}, ignore=["amount", "note"])
    >>> [declared_name(name, source) for name in ("revenue", "amount", "note", "day")]
    ['amount', None, None, 'day']
    """
    if name in source.columns:
        return source.columns[name]
    return None if name in source.ignore else name


def check_names(names: Sequence[str], source: Source, table: Table, origin: str) -> None:
    """Raise DataError SCHEMA_MISMATCH when ``names`` are not exactly the declared columns and the ignored ones."""
    missing = [name for name in table.names if name not in names]
    extra = [name for name in names if name not in table.names and name not in source.ignore]
    twice = sorted({name for name in names if names.count(name) > 1 and name in table.names})
    if not missing and not extra and not twice:
        return
    found = []
    if missing:
        found.append(f"lacks columns {missing}")
    if extra:
        found.append(f"has columns {extra} that are not declared")
    if twice:
        found.append(f"has columns {twice} twice")
    hints = [hint for name in missing if (hint := did_you_mean(name, extra))]
    raise DataError(
        "SCHEMA_MISMATCH",
        f"{origin} {' and '.join(found)}.",
        f"The columns of {table.name}. {' '.join(hints)}".strip(),
        "Rename them in the source, map them under columns, or list them under ignore.",
    )


def check_mapping(source: Source, table: Table) -> None:
    """Raise ConfigError when ``columns`` maps to a name that is not declared, or two names to one."""
    targets = list(source.columns.values())
    for name in targets:
        if name not in table.names and name not in source.ignore:
            raise ConfigError(
                "COLUMNS_INVALID",
                f"columns maps to '{name}', which {table.name} does not declare.",
                did_you_mean(name, table.names),
                "Change it.",
            )
    if len(set(targets)) != len(targets):
        raise ConfigError("COLUMNS_INVALID", "columns maps two names to one.", "", "Remove one of them.")


def source_names(names: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Return declared name → source name, for those of the source's ``names`` that are mapped or the same.

    >>> source_names(["customerID", "tenure"], {"customerID": "customer_id"})
    {'customer_id': 'customerID', 'tenure': 'tenure'}
    """
    return {columns.get(name, name): name for name in names}


def wrong_encoding(file: str, source: Source, example: str = "") -> DataError:
    """Return the error for a text that is not in the source's encoding."""
    shown = f": {example!r}" if example else ""
    return DataError(
        "WRONG_ENCODING",
        f"{file} is not {source.encoding}{shown}.",
        "",
        "Set encoding for this source, e.g. windows-1252 for files of Excel.",
    )
