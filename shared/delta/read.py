"""Reading tables at a version; a version is a number, never a time, since clocks differ and times repeat."""

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from shared.core.errors import AcceleratorError, DataError, EnvironmentProblem
from shared.delta.problems import FAILURES
from shared.delta.tables import TableRef, exists, is_absent, open_table

_NO_VERSION = {"DELTA_VERSION_NOT_FOUND"}


def read(spark: SparkSession, ref: TableRef, version: int | None = None) -> DataFrame:
    """Return the rows of the table, at ``version`` or the newest.

    Raises:
        DataError: there is no such table or version.
        EnvironmentProblem: the table is there, but this Spark cannot or may not read it.
    """
    try:
        return open_table(spark, ref, version)
    except FAILURES as error:
        raise _problem(spark, ref, version, error) from error


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
    except FAILURES as error:
        raise _problem(spark, ref, None, error) from error


def _problem(
    spark: SparkSession, ref: TableRef, version: int | None, error: PySparkException | Py4JJavaError
) -> AcceleratorError:
    is_translated = isinstance(error, PySparkException)
    if version is not None and not exists(spark, ref):
        version = None  # Delta has another error, which pyspark does not translate, for a version of no table
    elif not is_translated or not (is_absent(error) or error.getCondition() in _NO_VERSION):
        # The first line of a Java error only names the call.
        reason = [*str(error).strip().splitlines(), ""][0 if is_translated else 1].lstrip(": ")
        found = f"{ref.label} in {ref.location} cannot be read: {reason}"
        return EnvironmentProblem(
            "TABLE_UNREADABLE", found, "", "Look at the table, its writer's version and your rights."
        )
    what = f"table {ref.label}" if version is None else f"version {version} of table {ref.label}"
    return DataError(
        "TABLE_MISSING",
        f"There is no {what} in {ref.location}.",
        "A table written by an earlier step.",
        "Run the steps before, or check --warehouse.",
    )
