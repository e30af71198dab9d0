"""Readers: any source as the declared columns, plus what went wrong with each row.

The names a source has are checked against the declaration before any row is read.
"""

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.columns import RAW, SOURCE_FILE, Table
from shared.core.errors import ConfigError, DataError
from shared.ingest import jdbc
from shared.ingest.csv_files import read_csv
from shared.ingest.failures import Parsed, converted, none_when_empty, record_failure, type_failures, typed
from shared.ingest.json_lines import read_json
from shared.ingest.names import check_mapping, check_names, declared_name, header_names
from shared.ingest.problems import explained
from shared.ingest.source import Source
from shared.ingest.text_lines import LINE, first_lines, is_undecodable, listed, text_lines


def read(spark: SparkSession, source: Source, table: Table, files: Sequence[str] | None = None) -> Parsed:
    """Return the rows of ``source`` and what did not parse.

    A field that does not parse is null, and the row's failures say why. Blank fields of text files are null,
    blanks around a value are trimmed.

    Args:
        spark: the session.
        source: where the rows are.
        table: declaration of the columns.
        files: read these instead of all that is at ``source.path``.

    Raises:
        ConfigError: the path, the table, the mapping or the login is wrong.
        DataError: an empty file, columns missing or not declared, a wrong delimiter or encoding, a broken file.
        EnvironmentProblem: a database or file system cannot be reached.
    """
    check_mapping(source, table)
    if source.format == "jdbc":
        return _jdbc(spark, source, table)
    if not source.path:
        raise ConfigError("SOURCE_INVALID", f"A {source.format} source has no path.", "", "Set path.")
    paths = [source.path] if files is None else list(files)
    with explained(source.path):
        match source.format:
            case "csv":
                return read_csv(spark, source, table, listed(spark, paths))
            case "json":
                return read_json(spark, source, table, list(listed(spark, paths)))
            case "words":
                return _words(spark, source, table, listed(spark, paths))
            case "parquet":
                # Without merging, the columns of one file would be taken for those of all.
                rows = spark.read.option("mergeSchema", "true").parquet(*paths)
            case _:
                rows = spark.read.format("delta").load(source.path)
    return conformed(rows.withColumn(SOURCE_FILE, F.col("_metadata.file_path")), source, table, source.path)


def _jdbc(spark: SparkSession, source: Source, table: Table) -> Parsed:
    if source.database is None:
        raise ConfigError("SOURCE_INVALID", "A jdbc source has no database.", "", "Set database.url and so on.")
    with explained(source.label):
        rows = jdbc.read_table(spark, source.database)
    return conformed(rows, source, table, source.label)


def conformed(rows: DataFrame, source: Source, table: Table, origin: str) -> Parsed:
    """Return typed rows of any origin with the declared types; a value that does not fit is null and a failure.

    Raises:
        DataError: columns are missing or not declared.
    """
    ignored = [name for name in rows.columns if declared_name(name, source) is None]
    renamed = rows.drop(*ignored).withColumnsRenamed(dict(source.columns))
    check_names([name for name in renamed.columns if name != SOURCE_FILE], source, table, origin)
    found = dict(renamed.dtypes)
    changed = {column.name: column.type for column in table.columns if found[column.name] != column.type}
    was = {name: f"_was_{name}" for name in changed}
    raw = F.to_json(F.struct(*table.names))
    kept = renamed.withColumns({RAW: raw} | {old: F.col(name) for name, old in was.items()})
    values = {
        name: converted(F.col(was[name]), found[name], kind, source.of_column(name)) for name, kind in changed.items()
    }
    texts = {name: typed(F.col(old).cast("string"), "string", source) for name, old in was.items()}
    failures = none_when_empty(type_failures(texts, changed))
    as_declared = kept.withColumns(values) if values else kept  # Connect refuses to add nothing
    # Without the columns that are ignored, whose names may be any.
    return Parsed(as_declared.select(*table.names, SOURCE_FILE, RAW, *was.values()), failures)


def _words(spark: SparkSession, source: Source, table: Table, files: Mapping[str, str]) -> Parsed:
    """Read text whose fields are separated by runs of blanks, as fixed-width exports are."""
    lines = text_lines(spark, source, list(files)).where(F.length(F.trim(LINE)) > 0)
    names = [name if name in table.names else "" for name in source.columns.values()]
    if not source.has_header:
        check_names(list(source.columns.values()), source, table, f"columns, for {source.path},")
    else:
        firsts = first_lines(spark, source, files)
        checked = [header_names(line.split(), source, table, file) for file, line in firsts.items()]
        for file, found in zip(firsts, checked, strict=True):
            if found != checked[0]:
                raise DataError(
                    "SCHEMA_MISMATCH",
                    f"{file} has its columns in the order {found}, others in {checked[0]}.",
                    "One order in all files of a source of words.",
                    "Read them one by one, or write them in one order.",
                )
        names = checked[0]
        lines = lines.where(~F.col(LINE).isin(list(set(firsts.values()))))
    words = F.split(F.trim(F.regexp_replace(LINE, r"\s+", " ")), " ").alias("_words")
    rows = lines.select(LINE, SOURCE_FILE, words)
    texts = {name: F.get("_words", F.lit(place)) for place, name in enumerate(names) if name}
    kinds = {name: table.column(name).type for name in texts}
    values = [typed(text, kinds[name], source.of_column(name)).alias(name) for name, text in texts.items()]
    typed_rows = rows.select(*values, SOURCE_FILE, F.col(LINE).alias(RAW), "_words")
    fault = F.when(is_undecodable(source, RAW), F.lit("encoding")).when(F.size("_words") != len(names), F.lit("fields"))
    failures = F.coalesce(record_failure(fault, F.col(RAW)), none_when_empty(type_failures(texts, kinds)))
    return Parsed(typed_rows, failures)
