"""Readers: any source as the declared columns, plus what went wrong with each row.

Besides the declared columns a reader gives `_source_file`, `_raw` and `_failures`:
the text of a record that did not parse and what is wrong with it, both null where it did. Files are checked against the declaration by their own headers before any row is read.
"""

import math
from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.columns import FAILURES, RAW, SOURCE_FILE, Table
from shared.core.errors import ConfigError, DataError, did_you_mean
from shared.core.secrets import resolve
from shared.ingest.problems import explained
from shared.ingest.source import Source
from shared.quality.expectations import FAILURE_TYPE

_DELIMITERS = (",", ";", "\t", "|")
_REPLACED = "\ufffd"
_SAMPLED_LINES = 1000


def read(spark: SparkSession, source: Source, table: Table) -> DataFrame:
    """Return the rows of ``source`` with the columns of ``table``, `_source_file`, `_raw` and `_failures`.

    A field that does not parse is null, and the row says why in `_failures`. Blank fields of text files are null,
    blanks around a value are trimmed.

    Raises:
        ConfigError: the path, the table or the login is wrong.
        DataError: an empty file, columns missing or not declared, a wrong delimiter or encoding, a broken file.
        EnvironmentProblem: a database or file system cannot be reached.
    """
    readers = {"csv": _csv, "words": _words, "json": _json, "parquet": _columnar, "delta": _columnar, "jdbc": _jdbc}
    with explained(source.path or (source.database.table if source.database else "")):
        return readers[source.format](spark, source, table)


def csv_options(source: Source) -> dict[str, str]:
    """Return the options with which Spark reads the text files of ``source``."""
    return {
        "sep": source.delimiter,
        "encoding": source.encoding,
        "dateFormat": source.date_format,
        "timestampFormat": source.timestamp_format,
        "ignoreLeadingWhiteSpace": "true",
        "ignoreTrailingWhiteSpace": "true",
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": RAW,
        "maxCharsPerColumn": "1000000",
    }


def parsed_csv(lines: DataFrame, source: Source, table: Table) -> DataFrame:
    """Return CSV rows that Spark parsed with `csv_schema` with their `_failures`."""
    types = {column.name: column.type for column in table.columns}
    names = [name for name in lines.columns if name in types]
    text = F.from_csv(F.col(RAW), ", ".join(f"`{name}` string" for name in names), csv_options(source) | {"columnNameOfCorruptRecord": "_none"})
    wrong = [_type_failure(name, text[name], types[name], source) for name in names if types[name] != "string"]
    found = F.array_compact(F.array(*wrong)) if wrong else F.array().cast(FAILURE_TYPE)
    fields = F.array(_failure("fields", "", F.substring(RAW, 1, 80), f"must have {len(names)} fields"))
    reasons = F.when(F.size(found) > 0, found).otherwise(fields)
    failures = F.when(F.col(RAW).isNotNull(), reasons)  # null for the rows that parsed: nothing to build or to store
    return lines.withColumn(FAILURES, failures).select(*table.names, SOURCE_FILE, RAW, FAILURES)


def csv_schema(names: Sequence[str], table: Table) -> str:
    """Return the DDL of a file with the declared columns ``names`` in file order, and `_raw`."""
    return ", ".join(f"`{name}` {table.column(name).type}" for name in names) + f", `{RAW}` string"


def header_names(header: Sequence[str], source: Source, table: Table, file: str) -> list[str]:
    """Return the declared name of every header field, '' for an ignored one.

    Raises:
        DataError: the delimiter or the encoding is wrong, or columns are missing or not declared.
    """
    names = [field.strip().strip('"').lstrip("\ufeff") for field in header]
    if len(names) == 1 and len(table.columns) > 1:
        other = next((d for d in _DELIMITERS if d != source.delimiter and d in names[0]), None)
        if other:
            raise DataError(
                "WRONG_DELIMITER",
                f"{file} has one field per line when split at {source.delimiter!r}.",
                f"It looks like {other!r}.",
                "Set delimiter for this source.",
            )
    if any(_REPLACED in name or "\x00" in name for name in names):
        raise DataError("WRONG_ENCODING", f"{file} is not {source.encoding}.", "", "Set encoding for this source.")
    mapped = [source.columns.get(name, name) for name in names]
    check_names(mapped, source, table, file)
    return ["" if name in source.ignore else name for name in mapped]


def check_names(names: Sequence[str], source: Source, table: Table, origin: str) -> None:
    """Raise DataError SCHEMA_MISMATCH when ``names`` are not exactly the declared columns and the ignored ones."""
    missing = [name for name in table.names if name not in names]
    extra = [name for name in names if name not in table.names and name not in source.ignore]
    if not missing and not extra and len(set(names)) == len(names):
        return
    found = []
    if missing:
        found.append(f"lacks columns {missing}")
    if extra:
        found.append(f"has columns {extra} that are not declared")
    if len(set(names)) != len(names):
        found.append(f"names columns twice: {sorted({name for name in names if names.count(name) > 1})}")
    hints = [hint for name in extra if (hint := did_you_mean(name, missing or table.names))]
    raise DataError(
        "SCHEMA_MISMATCH",
        f"{origin} {' and '.join(found)}.",
        f"The columns of {table.name}. {' '.join(hints)}".strip(),
        "Rename them in the source, map them under columns, or list them under ignore.",
    )


def _csv(spark: SparkSession, source: Source, table: Table) -> DataFrame:
    layouts: dict[tuple[str, ...], list[str]] = {}
    if not source.has_header:
        layouts[tuple(source.columns.values())] = [source.path]
    else:
        for file in _files(spark, source.path):
            layouts.setdefault(tuple(_header(spark, file, source, table)), []).append(file)
    parts = []
    for names, files in layouts.items():
        fields = [name or f"_ignored_{place}" for place, name in enumerate(names)]
        ignored = {field for field in fields if field.startswith("_ignored_")}
        ddl = ", ".join(f"`{f}` {'string' if f in ignored else table.column(f).type}" for f in fields)
        reader = spark.read.schema(f"{ddl}, `{RAW}` string").options(**csv_options(source))
        lines = reader.option("header", source.has_header).csv(files)
        parts.append(parsed_csv(lines.withColumn(SOURCE_FILE, F.col("_metadata.file_path")), source, table))
    rows = parts[0]
    for part in parts[1:]:
        rows = rows.unionByName(part)
    return rows


def _words(spark: SparkSession, source: Source, table: Table) -> DataFrame:
    """Read text whose fields are separated by runs of blanks, as fixed-width exports are."""
    lines = spark.read.option("encoding", source.encoding).text(source.path)
    first = lines.first()
    if first is None:
        raise DataError("EMPTY_FILE", f"{source.path} is empty.", "A header and rows.", "Check the export.")
    header = first["value"].split() if source.has_header else list(source.columns)
    names = header_names(header, source, table, source.path)
    words = F.split(F.trim(F.regexp_replace("value", r"\s+", " ")), " ")
    rows = lines.select(F.col("value"), words.alias("_words"), F.col("_metadata.file_path").alias(SOURCE_FILE))
    if source.has_header:
        rows = rows.where(F.col("value") != F.lit(first["value"]))
    rows = rows.where(F.length(F.trim("value")) > 0)
    texts = {name: F.get("_words", F.lit(place)) for place, name in enumerate(names) if name}
    kinds = {name: table.column(name).type for name in texts}
    wrong = [_type_failure(name, text, kinds[name], source) for name, text in texts.items() if kinds[name] != "string"]
    found = F.array_compact(F.array(*wrong))
    fields = F.array(_failure("fields", "", F.substring("value", 1, 80), f"must have {len(names)} fields"))
    failures = F.when(F.size("_words") != len(names), fields).when(F.size(found) > 0, found)
    typed = {name: _typed(text, kinds[name], source).alias(name) for name, text in texts.items()}
    parsed = rows.select(*(typed[n] for n in table.names), SOURCE_FILE, "value", failures.alias(FAILURES))
    raw = F.when(F.col(FAILURES).isNotNull(), F.col("value")).alias(RAW)
    return parsed.select(*table.names, SOURCE_FILE, raw, FAILURES)


def _header(spark: SparkSession, file: str, source: Source, table: Table) -> list[str]:
    options = csv_options(source) | {"header": "false", "mode": "PERMISSIVE"}
    reader = spark.read.options(**{k: v for k, v in options.items() if k != "columnNameOfCorruptRecord"})
    first = reader.csv(file).first()
    if first is None:
        raise DataError("EMPTY_FILE", f"{file} is empty.", "A header and rows.", "Check the export.")
    return header_names([field or "" for field in first], source, table, file)


def _files(spark: SparkSession, path: str) -> list[str]:
    listed = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(path).select("path")
    files = sorted(row["path"] for row in listed.collect())
    if not files:
        raise ConfigError("SOURCE_MISSING", f"No file in {path}.", "At least one.", "Check --source.")
    return files


def _json(spark: SparkSession, source: Source, table: Table) -> DataFrame:
    keys = F.explode(F.json_object_keys(F.col("value"))).alias("key")
    lines = spark.read.option("encoding", source.encoding).text(source.path)
    sampled = lines.where(F.length(F.trim("value")) > 0).limit(_SAMPLED_LINES)
    found = [row["key"] for row in sampled.select(keys).distinct().collect()]
    if not found:
        raise DataError("EMPTY_FILE", f"{source.path} holds no JSON objects.", "One object a line.", "Check the export.")
    mapped = [source.columns.get(name, name) for name in found]
    optional = [column.name for column in table.columns if column.nullable and column.name not in mapped]
    check_names([*mapped, *optional], source, table, source.path)
    names = {source_name: name for source_name, name in zip(found, mapped, strict=True)} | {n: n for n in optional}
    ddl = ", ".join(f"`{key}` {table.column(name).type}" for key, name in names.items() if name in table.names)
    options = csv_options(source)
    reader = spark.read.schema(f"{ddl}, `{RAW}` string").options(
        **{key: options[key] for key in ("encoding", "dateFormat", "timestampFormat", "mode", "columnNameOfCorruptRecord")}
    )
    rows = reader.json(source.path).withColumn(SOURCE_FILE, F.col("_metadata.file_path"))
    for key, name in names.items():
        if name in table.names:
            rows = rows.withColumnRenamed(key, name)
    wrong = [
        _type_failure(name, F.get_json_object(RAW, f"$.{key}"), table.column(name).type, source)
        for key, name in names.items()
        if name in table.names and table.column(name).type != "string"
    ]
    found_wrong = F.array_compact(F.array(*wrong))
    broken = F.array(_failure("json", "", F.substring(RAW, 1, 80), "must be a JSON object"))
    reasons = F.when(F.size(found_wrong) > 0, found_wrong).otherwise(broken)
    failures = F.when(F.col(RAW).isNotNull(), reasons)  # null for the rows that parsed: nothing to build or to store
    return rows.withColumn(FAILURES, failures).select(*table.names, SOURCE_FILE, RAW, FAILURES)


def _columnar(spark: SparkSession, source: Source, table: Table) -> DataFrame:
    rows = spark.read.format(source.format).load(source.path)
    return conformed(rows.withColumn(SOURCE_FILE, F.col("_metadata.file_path")), source, table, source.path)


def _jdbc(spark: SparkSession, source: Source, table: Table) -> DataFrame:
    database = source.database
    if database is None:
        raise ConfigError("SOURCE_INVALID", "A jdbc source has no database.", "", "Set database.url and so on.")
    options = {
        "url": database.url,
        "user": database.user,
        "password": resolve(database.password).reveal(),
        "fetchsize": str(database.fetch_size),
        "dbtable": database.table,
    }
    if database.url.startswith("jdbc:postgresql:"):
        options["driver"] = "org.postgresql.Driver"
    reader = spark.read.format("jdbc").options(**options)
    rows = reader.load()
    if database.partition_column:
        bounds = rows.agg(F.min(database.partition_column), F.max(database.partition_column)).collect()[0]
        if bounds[0] is not None:
            low, high = _bound(bounds[0], round_up=False), _bound(bounds[1], round_up=True)
            rows = reader.options(
                partitionColumn=database.partition_column,
                lowerBound=low,
                upperBound=high,
                numPartitions=str(database.partitions),
            ).load()
    origin = f"{database.url}/{database.table}"
    return conformed(rows.withColumn(SOURCE_FILE, F.lit(origin)), source, table, origin)


def conformed(rows: DataFrame, source: Source, table: Table, origin: str) -> DataFrame:
    """Return typed rows of any origin with the declared types; a value that does not fit is null and a failure.

    Raises:
        DataError: columns are missing or not declared.
    """
    renamed = rows
    for source_name, name in source.columns.items():
        renamed = renamed.withColumnRenamed(source_name, name)
    check_names([name for name in renamed.columns if name != SOURCE_FILE], source, table, origin)
    found: Mapping[str, str] = dict(renamed.dtypes)
    changed = [c for c in table.columns if found[c.name] != c.type]
    wrong = [_type_failure(c.name, F.col(c.name).cast("string"), c.type, source) for c in changed]
    found_wrong = F.array_compact(F.array(*wrong)) if wrong else F.array().cast(FAILURE_TYPE)
    flagged = renamed.withColumn(FAILURES, F.when(F.size(found_wrong) > 0, found_wrong))
    kept = flagged.withColumn(RAW, F.when(F.col(FAILURES).isNotNull(), F.to_json(F.struct(*table.names))))
    typed = kept.withColumns({c.name: F.col(c.name).try_cast(c.type) for c in changed}) if changed else kept
    return typed.select(*table.names, SOURCE_FILE, RAW, FAILURES)


def _type_failure(name: str, text: Column, kind: str, source: Source) -> Column:
    trimmed = F.nullif(F.trim(text), F.lit(""))
    value = _typed(trimmed, kind, source)
    wrong = _failure("type", name, F.substring(trimmed, 1, 80), f"must be {kind}")
    return F.when(trimmed.isNotNull() & value.isNull(), wrong)


def _typed(text: Column, kind: str, source: Source) -> Column:
    match kind:
        case "string":
            return text
        case "date":
            return F.try_to_date(text, source.date_format)
        case "timestamp":
            return F.try_to_timestamp(text, F.lit(source.timestamp_format))
        case _:
            return text.try_cast(kind)


def _failure(rule: str, column: str, value: Column, message: str) -> Column:
    facts = {"rule": F.lit(rule), "column": F.lit(column), "value": value, "message": F.lit(message)}
    return F.struct(*(fact.alias(name) for name, fact in facts.items()), F.lit("error").alias("severity"))


def _bound(value: object, round_up: bool) -> str:
    if isinstance(value, float):
        return str(math.ceil(value) if round_up else math.floor(value))
    return str(value)
