"""CSV files, with the columns of each by its own header, so that another order in another file mixes nothing up.

A line that is equal to the header is a header wherever it stands, so files that were joined together are read well.
"""

import csv
from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.columns import FAILURES, RAW, SOURCE_FILE, Table
from shared.ingest.failures import Parsed, none_when_empty, parsed_type, record_failure, type_failures, typed
from shared.ingest.names import check_names, header_names
from shared.ingest.source import Source
from shared.ingest.text_lines import LINE, first_lines, is_undecodable, text_lines

_CORRUPT = "_corrupt"
_FAULT = "_fault"
_TEXTS = "_texts"


def read_csv(spark: SparkSession, source: Source, table: Table, files: Mapping[str, str]) -> Parsed:
    """Return the records.

    Args:
        spark: the session.
        source: how the files are written.
        table: declaration of the columns.
        files: as `text_lines.listed` gives them.

    Raises:
        ConfigError: without a header, ``columns`` does not name the declared columns.
        DataError: the header of a file is not the declaration's, or shows a wrong delimiter or encoding.
    """
    failures = _failures({column.name: column.type for column in table.columns})
    if not source.has_header:
        names = [name if name in table.names else "" for name in source.columns.values()]
        check_names(list(source.columns.values()), source, table, f"columns, for {source.path},")
        return Parsed(_records(spark, source, table, names, list(files), ()), failures)
    layouts: dict[tuple[str, ...], list[str]] = {}
    headers = _headers(spark, source, files)
    for file, header in headers.items():
        layouts.setdefault(tuple(header_names(_fields(header, source), source, table, file)), []).append(file)
    parts = [
        _records(spark, source, table, names, group, sorted({headers[file] for file in group}))
        for names, group in layouts.items()
    ]
    if len(parts) == 1:
        return Parsed(parts[0], failures)
    # The texts of each layout have a type of their own.
    alike = [part.withColumn(FAILURES, failures).drop(_FAULT, _TEXTS) for part in parts]
    return Parsed(reduce(DataFrame.unionByName, alike), F.col(FAILURES))


def _headers(spark: SparkSession, source: Source, files: Mapping[str, str]) -> dict[str, str]:
    if source.encoding != "UTF-16":
        return first_lines(spark, source, files)
    # Only the CSV reader finds the line ends of UTF-16, and only with multiLine.
    reader = spark.read.options(sep="\n", encoding=source.encoding, multiLine="true")
    firsts = {file: reader.csv(file).first() for file in files}
    return {file: row[0] or "" if row is not None else "" for file, row in firsts.items()}


def _fields(header: str, source: Source) -> list[str]:
    r"""Split a header; a delimiter of several characters cannot stand inside quotes.

    >>> _fields('a,"b,c"', Source(format="csv"))
    ['a', 'b,c']
    >>> _fields("a||b", Source(format="csv", delimiter="||"))
    ['a', 'b']
    """
    if len(source.delimiter) > 1:
        return header.split(source.delimiter)
    return next(csv.reader([header], delimiter=source.delimiter), [""])


def _options(source: Source) -> dict[str, str]:
    formats = {"dateFormat": source.date_format, "timestampFormat": source.timestamp_format}
    return {key: pattern for key, pattern in formats.items() if pattern} | {
        "sep": source.delimiter,
        "escape": source.escape,
        "nullValue": source.null_value,
        "ignoreLeadingWhiteSpace": "true",
        "ignoreTrailingWhiteSpace": "true",
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": _CORRUPT,
        "maxCharsPerColumn": "-1",
    }


def _records(
    spark: SparkSession, source: Source, table: Table, names: Sequence[str], files: list[str], headers: Sequence[str]
) -> DataFrame:
    """Parse ``files``, whose fields are ``names`` in order ('' for one that is not kept)."""
    fields = [name or f"_ignored_{place}" for place, name in enumerate(names)]
    kinds = {column.name: column.type for column in table.columns}
    own = {name: f"_text_{name}" for name, kind in kinds.items() if parsed_type(name, kind, source) != kind}
    ddl = _ddl([(own.get(field, field), parsed_type(field, kinds.get(field, "string"), source)) for field in fields])
    if source.multiline:
        reader = spark.read.schema(ddl).options(**_options(source), encoding=source.encoding, multiLine="true")
        rows = reader.option("header", source.has_header).csv(files)
        text = F.coalesce(_CORRUPT, F.to_csv(F.struct(*rows.drop(_CORRUPT).columns), {"sep": source.delimiter}))
        rows = rows.withColumns({SOURCE_FILE: F.col("_metadata.file_path"), LINE: text})
    else:
        lines = text_lines(spark, source, files).where(F.col(LINE) != "")
        for header in headers:
            lines = lines.where(F.col(LINE) != header)
        parsed = lines.select(LINE, SOURCE_FILE, F.from_csv(LINE, ddl, _options(source)).alias("_parsed"))
        rows = parsed.select(LINE, SOURCE_FILE, "_parsed.*")
    rows = rows.withColumns(
        {name: typed(F.col(text), kinds[name], source.of_column(name)) for name, text in own.items()}
    )
    rows = rows.withColumn(_FAULT, _fault(source, own))
    # Only a record with a fault is split once more, as text, to find the fields that are to blame.
    texts = F.from_csv(LINE, _ddl([(field, "string") for field in fields]), _options(source))
    texts = F.when(F.col(_FAULT).isNotNull(), texts).alias(_TEXTS)
    return rows.select(*table.names, SOURCE_FILE, F.col(LINE).alias(RAW), _FAULT, texts)


def _ddl(fields: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in [*fields, (_CORRUPT, "string")])


def _fault(source: Source, own: Mapping[str, str]) -> Column:
    """Return what is wrong with a record at first sight, null when nothing is."""
    is_wrong = F.col(_CORRUPT).isNotNull()
    for name, text in own.items():
        is_wrong = is_wrong | (F.col(name).isNull() & F.col(text).isNotNull())
    fault = F.when(is_wrong, F.lit("fields"))
    if source.multiline:
        return fault
    mangled = F.when(is_undecodable(source), F.lit("encoding")).when(_has_open_quote(source), F.lit("quote"))
    return mangled.otherwise(fault)


def _failures(kinds: Mapping[str, str]) -> Column:
    fault, texts = F.col(_FAULT), F.col(_TEXTS)
    record = F.when((fault != "fields") | texts[_CORRUPT].isNotNull(), fault)
    wrong = none_when_empty(type_failures({name: texts[name] for name in kinds}, kinds))
    return F.coalesce(record_failure(record, F.col(RAW)), F.when(fault.isNotNull(), wrong))


def _has_open_quote(source: Source) -> Column:
    """Tell whether a field begins with a quote that never ends: the record goes on in the next line."""
    quotes = F.length(LINE) - F.length(F.replace(F.col(LINE), F.lit('"')))
    # Possessive: without it Java's matcher recurses for each character, and a long line overflows its stack.
    opening = rf'(?:^|\Q{source.delimiter}\E)\s*"(?:[^"]++|"")*+\z'
    return F.col(LINE).contains('"') & (quotes % 2 == 1) & F.col(LINE).rlike(opening)
