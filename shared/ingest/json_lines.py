"""JSON lines: one object a line.

Spark drops a field it does not expect without a word; here the keys of every record are compared with the declaration.
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.columns import RAW, SOURCE_FILE, Table
from shared.core.errors import DataError
from shared.ingest.failures import (
    RECORD_RULES,
    Parsed,
    failure,
    none_when_empty,
    parsed_type,
    record_failure,
    type_failures,
    typed,
)
from shared.ingest.names import check_names, declared_name, source_names
from shared.ingest.source import Source
from shared.ingest.text_lines import LINE, is_undecodable, text_lines
from shared.quality.expectations import FAILURE_TYPE

_SAMPLED_LINES = 1000
_PARSED = "_parsed"
_CORRUPT = "_corrupt"


def read_json(spark: SparkSession, source: Source, table: Table, files: list[str]) -> Parsed:
    """Return the records.

    A key that is left out is null. A record with a key that is not declared fails, so that nothing is lost; when all
    of the first thousand have it, the source is refused at once.

    Raises:
        DataError: no record, or columns that are missing or not declared.
    """
    lines = text_lines(spark, source, files).where(F.length(F.trim(LINE)) > 0)
    return parsed(lines, source, table, _keys(lines, source, table))


def parsed(lines: DataFrame, source: Source, table: Table, keys: Sequence[str]) -> Parsed:
    """Return the records of ``lines``, rows of `_line` and `_source_file`.

    Args:
        lines: one object a line; other lines fail.
        source: formats of dates, and the names that differ or are ignored.
        table: declaration of the columns.
        keys: the source's names of the declared columns that are looked for.
    """
    names = source_names(keys, source.columns)
    kinds = {name: table.column(name).type for name in table.names}
    quoted = {name: key.replace("`", "``") for name, key in names.items()}
    ddl = ", ".join(f"`{key}` {parsed_type(name, kinds[name], source)}" for name, key in quoted.items())
    formats = {"dateFormat": source.date_format, "timestampFormat": source.timestamp_format}
    options = {key: pattern for key, pattern in formats.items() if pattern} | {"columnNameOfCorruptRecord": _CORRUPT}
    record = F.from_json(LINE, f"{ddl}, {_CORRUPT} string", options).alias(_PARSED)
    values = {
        name: typed(F.col(_PARSED)[key], kinds[name], source.of_column(name))
        if parsed_type(name, kinds[name], source) != kinds[name]
        else F.col(_PARSED)[key]
        for name, key in names.items()
    }
    chosen = [values.get(name, F.lit(None).cast(kinds[name])).alias(name) for name in table.names]
    records = lines.select(SOURCE_FILE, LINE, record).select(*chosen, SOURCE_FILE, F.col(LINE).alias(RAW))
    is_object = F.json_object_keys(RAW).isNotNull()
    fault = F.when(is_undecodable(source, RAW), F.lit("encoding")).when(~is_object, F.lit("json"))
    wrong = type_failures({name: F.get_json_object(RAW, f"$['{key}']") for name, key in names.items()}, kinds)
    strange = _undeclared(source, table)
    failures = F.coalesce(record_failure(fault, F.col(RAW)), none_when_empty(wrong), none_when_empty(strange))
    return Parsed(records, failures)


def _keys(lines: DataFrame, source: Source, table: Table) -> list[str]:
    """Return the source's names of the declared columns, from what the first records hold."""
    sampled = lines.limit(_SAMPLED_LINES).select(F.json_object_keys(LINE).alias("keys")).where("keys IS NOT NULL")
    counted = sampled.select(F.explode("keys").alias("key")).groupBy("key").count().collect()
    counts = {row["key"]: row["count"] for row in counted}
    if not counts:
        raise DataError(
            "EMPTY_FILE", f"{source.path} holds no JSON objects.", "One object a line.", "Check the export."
        )
    declared = [name for name in counts if declared_name(name, source) in table.names]
    everywhere = max(counts.values())
    extra = [name for name, count in counts.items() if name not in declared and count == everywhere]
    found = [name for each in [*declared, *extra] if (name := declared_name(each, source)) is not None]
    optional = [column.name for column in table.columns if column.nullable and column.name not in found]
    check_names([*found, *optional], source, table, source.path)
    mapped = {target: name for name, target in source.columns.items()}
    return declared + [mapped.get(name, name) for name in optional]


def _undeclared(source: Source, table: Table) -> Column:
    known = {*table.names, *source.columns, *source.ignore}
    strange = F.array_except(F.json_object_keys(RAW), F.array(*map(F.lit, sorted(known))))
    message = F.lit(RECORD_RULES["undeclared"])
    return F.transform(strange, lambda key: failure(F.lit("undeclared"), F.lit(""), key, message)).cast(FAILURE_TYPE)
