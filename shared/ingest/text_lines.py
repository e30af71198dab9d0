"""Text files as lines with the file they came from, decoded; one pass, and the header's line of every file."""

import re
from collections.abc import Mapping
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.columns import SOURCE_FILE
from shared.core.errors import DataError
from shared.core.parallel import in_parallel
from shared.ingest.listing import listing
from shared.ingest.source import Source

LINE: Final = "_line"
_FEW_FILES = 16
_GLOB = re.compile(r"([\\\[\]{}*?])")
_C1 = bytes(range(0x80, 0xA0))


def text_lines(spark: SparkSession, source: Source, files: list[str]) -> DataFrame:
    """Return `_line` and `_source_file`; with ISO-8859-1 and windows-1252 decoded, UTF-8 as it is."""
    lines = spark.read.text(files)
    return lines.select(
        _decoded(F.col("value"), source.encoding).alias(LINE), F.col("_metadata.file_path").alias(SOURCE_FILE)
    )


def _decoded(line: Column, encoding: str) -> Column:
    if encoding == "UTF-8":
        return line
    text = F.decode(line.cast("binary"), "ISO-8859-1")
    if encoding == "ISO-8859-1":
        return text
    # windows-1252 differs from ISO-8859-1 in these 32 codes only, and Spark does not know it by name.
    return F.translate(text, _C1.decode("latin-1"), _C1.decode("cp1252", errors="replace"))


def is_undecodable(source: Source, line: str = LINE) -> Column:
    """Tell whether a line is not UTF-8 though it should be."""
    return ~F.is_valid_utf8(line) if source.encoding == "UTF-8" else F.lit(False)


def listed(spark: SparkSession, paths: list[str]) -> dict[str, str]:
    """Return the files at ``paths``: path, escaped for Spark's readers → address as `_source_file` has it.

    Raises:
        DataError: there is none, or all of them are empty.
    """
    files = listing(spark, paths).select("path", F.col("_metadata.file_path").alias("uri")).orderBy("path").collect()
    if not files:  # Spark lists no file without content
        raise DataError("EMPTY_FILE", f"{', '.join(paths)} is empty.", "A header and rows.", "Check the export.")
    return {escaped(file["path"]): file["uri"] for file in files}


def escaped(file: str) -> str:
    r"""Return a path whose wildcard characters mean themselves.

    >>> escaped("a [1].csv")
    'a \\[1\\].csv'
    """
    return _GLOB.sub(r"\\\1", file)


def first_lines(spark: SparkSession, source: Source, files: Mapping[str, str]) -> dict[str, str]:
    """Return the first line of every file of `listed`.

    A few files are opened each by a job of its own, and only the beginning is read; many are read in one job.
    """
    if len(files) <= _FEW_FILES:
        firsts = in_parallel(spark, [text_lines(spark, source, [file]).first for file in files])
        return {file: row[LINE] if row is not None else "" for file, row in zip(files, firsts, strict=True)}
    lines = text_lines(spark, source, list(files)).groupBy(SOURCE_FILE)
    # A file's beginning is in one task and comes first in it, so first() finds it before any shuffle.
    found = {row[SOURCE_FILE]: row["line"] for row in lines.agg(F.first(LINE).alias("line")).collect()}
    return {file: found.get(uri, "") for file, uri in files.items()}
