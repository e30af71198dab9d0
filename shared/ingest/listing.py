"""The files at a path, and whether they are the ones that were there before, told without reading them."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession

from shared.delta.digest import digest
from shared.delta.problems import FAILURES
from shared.ingest.source import Source


def listing(spark: SparkSession, paths: Sequence[str]) -> DataFrame:
    """Return a row for each file with content at ``paths`` and below: ``path``, ``length``, ``modificationTime``."""
    return spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(list(paths))


def listing_digest(spark: SparkSession, sources: Sequence[Source]) -> str | None:
    """Return a digest of path, size and time of change of every file of ``sources``.

    A file that was replaced by one of the same size and time is not noticed. None where a listing does not tell
    everything (a database, a table with a log of its own), or where there is none.
    """
    if any(source.database or source.format == "delta" for source in sources):
        return None
    try:
        files = listing(spark, [source.path for source in sources])
        return digest(files.select("path", "length", "modificationTime"))
    except FAILURES:
        return None  # reading it will say what is wrong
