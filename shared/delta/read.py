"""Reading tables at a version; a version is a number, never a time, since clocks differ and times repeat."""

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

from shared.core.errors import DataError
from shared.delta.tables import TableRef, open_table


def read(spark: SparkSession, ref: TableRef, version: int | None = None) -> DataFrame:
    """Return the rows of the table, at ``version`` or the newest.

    Raises:
        DataError: there is no such table or version.
    """
    try:
        return open_table(spark, ref, version)
    except AnalysisException as error:
        raise _missing(ref, version) from error


def latest_version(spark: SparkSession, ref: TableRef) -> int:
    """Return the newest version of the table.

    Raises:
        DataError: there is no such table.
    """
    return int(history(spark, ref, limit=1).collect()[0]["version"])


def history(spark: SparkSession, ref: TableRef, limit: int | None = None) -> DataFrame:
    """Return one row per commit that the log still holds, newest first: ``version``, ``timestamp``, ``operation``, ….

    Without ``limit`` the whole log is read, which takes long for a table that a stream writes to.

    Raises:
        DataError: there is no such table.
    """
    try:
        return spark.sql(f"DESCRIBE HISTORY {ref.sql}" + (f" LIMIT {limit}" if limit else ""))
    except AnalysisException as error:
        raise _missing(ref, None) from error


def _missing(ref: TableRef, version: int | None) -> DataError:
    what = f"table {ref.label}" if version is None else f"version {version} of table {ref.label}"
    return DataError(
        "TABLE_MISSING",
        f"There is no {what} in {ref.location}.",
        "A table written by an earlier step.",
        "Run the steps before, or check --warehouse.",
    )
