"""JSON lines: one object a line.

Spark drops a field it does not expect without a word; here the keys of every record are compared with the declaration.
"""

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.columns import FAILURES, RAW, SOURCE_FILE, Table
from shared.core.errors import DataError
from shared.ingest.failures import cut, failure, none_when_empty
from shared.ingest.names import check_names, source_names
from shared.ingest.source import Source
from shared.ingest.text_lines import LINE, is_undecodable, text_lines

_SAMPLED_LINES = 1000
_PARSED = "_parsed"
_CORRUPT = "_corrupt"


def read_json(spark: SparkSession, source: Source, table: Table, files: list[str]) -> DataFrame:
    """Return the records with the columns of ``table``, `_source_file`, `_raw` and `_failures`.

    A key that is left out is null. A record with a key that is not declared fails, so that nothing is lost; when all
    of the first thousand have it, the source is refused at once.

    Raises:
        DataError: no record, or columns that are missing or not declared.
    """
    lines = text_lines(spark, source, files).where(F.length(F.trim(LINE)) > 0)
    names = source_names(_keys(lines, source, table), source.columns)
    kept = [name for name in table.names if name in names]
    ddl = ", ".join(f"`{names[name]}` {table.column(name).type}" for name in kept)
    options = {
        "dateFormat": source.date_format,
        "timestampFormat": source.timestamp_format,
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": _CORRUPT,
    }
    parsed = F.from_json(LINE, f"{ddl}, {_CORRUPT} string", options).alias(_PARSED)
    records = lines.select(SOURCE_FILE, LINE, parsed)
    values = {name: F.col(_PARSED)[names[name]].alias(name) for name in kept}
    values |= {c.name: F.lit(None).cast(c.type).alias(c.name) for c in table.columns if c.name not in values}
    wrong = [_type_failure(names[name], name, table.column(name).type) for name in kept]
    reasons = F.array_compact(F.array(*wrong))
    broken = F.array(failure("json", "", cut(LINE), "must be a JSON object"))
    strange = _undeclared(source, table)
    failures = (
        F.when(is_undecodable(source), F.array(failure("encoding", "", cut(LINE), f"must be {source.encoding}")))
        .when(F.col(_PARSED)[_CORRUPT].isNotNull(), F.when(F.size(reasons) > 0, reasons).otherwise(broken))
        .otherwise(none_when_empty(strange))
    )
    return records.select(
        *(values[n] for n in table.names), SOURCE_FILE, F.col(LINE).alias(RAW), failures.alias(FAILURES)
    )


def _keys(lines: DataFrame, source: Source, table: Table) -> list[str]:
    """Return the source's names of the declared columns, from what the first records hold."""
    sampled = lines.limit(_SAMPLED_LINES).select(F.json_object_keys(LINE).alias("keys")).where("keys IS NOT NULL")
    counted = sampled.select(F.explode("keys").alias("key")).groupBy("key").count().collect()
    counts = {row["key"]: row["count"] for row in counted}
    if not counts:
        raise DataError(
            "EMPTY_FILE", f"{source.path} holds no JSON objects.", "One object a line.", "Check the export."
        )
    declared = [name for name in counts if source.columns.get(name, name) in table.names]
    everywhere = max(counts.values())
    extra = [name for name, count in counts.items() if name not in declared and count == everywhere]
    found = [source.columns.get(name, name) for name in [*declared, *extra]]
    optional = [column.name for column in table.columns if column.nullable and column.name not in found]
    check_names([*found, *optional], source, table, source.path)
    mapped = {target: name for name, target in source.columns.items()}
    return declared + [mapped.get(name, name) for name in optional]


def _undeclared(source: Source, table: Table) -> Column:
    known = {*table.names, *source.columns, *source.ignore}
    strange = F.array_except(F.json_object_keys(LINE), F.array(*map(F.lit, sorted(known))))
    return F.transform(strange, lambda key: failure("undeclared", "", key, "must be a declared column"))


def _type_failure(key: str, name: str, kind: str) -> Column:
    text = F.get_json_object(LINE, f"$['{key}']")
    wrong = failure("type", name, cut(text), f"must be {kind}")
    return F.when(text.isNotNull() & F.col(_PARSED)[key].isNull(), wrong)
