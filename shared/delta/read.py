"""Reading tables at a version; a version is a number, never a time, since clocks differ and times repeat."""

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

from shared.core.errors import DataError
from shared.delta.tables import TableRef


def read(spark: SparkSession, ref: TableRef, version: int | None = None) -> DataFrame:
    """Return the rows of the table, at ``version`` or the newest.

    Raises:
        DataError: there is no such table or version.
    """
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    try:
        return reader.load(ref.path) if ref.path is not None else reader.table(ref.name)
    except AnalysisException as error:
        raise _missing(ref, version) from error


def latest_version(spark: SparkSession, ref: TableRef) -> int:
    """Return the newest version of the table.

    Raises:
        DataError: there is no such table.
    """
    try:
        return int(spark.sql(f"DESCRIBE HISTORY {ref.sql} LIMIT 1").collect()[0]["version"])
    except AnalysisException as error:
        raise _missing(ref, None) from error


def _missing(ref: TableRef, version: int | None) -> DataError:
    what = f"table {ref.label}" if version is None else f"version {version} of table {ref.label}"
    return DataError("TABLE_MISSING", f"There is no {what} in {ref.path or ref.name}.", "", "Run the steps before.")
