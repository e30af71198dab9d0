"""Tables of a database, read in parallel by ranges of one column.

The password is resolved here and handed to Spark as an option, which Spark does not show; it is in no address, plan or
log. The bounds only place the strides: rows outside of them and rows where the column is null are read as well.
"""

import math
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.columns import SOURCE_FILE
from shared.core.errors import ConfigError, did_you_mean
from shared.core.references import is_reference
from shared.core.secrets import resolve
from shared.ingest.source import Database

_DRIVERS = {"jdbc:postgresql:": "org.postgresql.Driver"}
_ORDERED = {"tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "date", "timestamp"}
# A server that is down is told within seconds, not minutes; the properties of the config may say otherwise.
_TIMEOUTS = {"jdbc:postgresql:": {"connectTimeout": "10", "loginTimeout": "10"}}


def read_table(spark: SparkSession, database: Database) -> DataFrame:
    """Return the rows of the table, with the table's address in `_source_file`.

    Raises:
        ConfigError: the partition column does not exist or is not a number, date or timestamp.
        EnvironmentProblem: a secret is not where its reference says.
    """
    reader = spark.read.format("jdbc").options(**_options(database))
    rows = reader.load()
    name = database.partition_column
    if name is not None:
        _check_partition_column(dict(rows.dtypes), name, database.table)
        bounds = _bounds(spark, name, database)
        if bounds is not None:
            low, high = bounds
            reader = reader.option("lowerBound", low).option("upperBound", high)
            rows = reader.option("partitionColumn", name).option("numPartitions", database.partitions).load()
    return rows.withColumn(SOURCE_FILE, F.lit(f"{database.url}/{database.table}"))


def _options(database: Database) -> dict[str, str]:
    kind = next((prefix for prefix in _DRIVERS if database.url.startswith(prefix)), "")
    options = _TIMEOUTS.get(kind, {}) | dict(database.properties)
    if kind:
        options["driver"] = _DRIVERS[kind]
    user = resolve(database.user).reveal() if is_reference(database.user) else database.user
    return options | {
        "url": database.url,
        "dbtable": database.table,
        "user": user,
        "password": resolve(database.password).reveal(),
        "fetchsize": str(database.fetch_size),
    }


def _check_partition_column(types: Mapping[str, str], name: str, table: str) -> None:
    kind = types.get(name)
    if kind is None:
        hint = did_you_mean(name, types)
        raise ConfigError("PARTITION_COLUMN_INVALID", f"{table} has no column '{name}'.", hint, "Change it.")
    if kind.partition("(")[0] not in _ORDERED:
        raise ConfigError(
            "PARTITION_COLUMN_INVALID",
            f"Column '{name}' of {table} is {kind}.",
            "A number, date or timestamp.",
            "Choose another partition_column.",
        )


def _bounds(spark: SparkSession, name: str, database: Database) -> tuple[str, str] | None:
    if database.lower_bound is not None and database.upper_bound is not None:
        return database.lower_bound, database.upper_bound
    # Asked of the database: Spark would fetch the whole column through one connection. Both names are identifiers.
    quoted = f'"{name}"' if database.url.startswith("jdbc:postgresql:") else name
    query = f"SELECT min({quoted}) AS low, max({quoted}) AS high FROM {database.table}"
    options = {key: value for key, value in _options(database).items() if key != "dbtable"}
    low, high = spark.read.format("jdbc").options(**options).option("query", query).load().collect()[0]
    if low is None:
        return None  # no row, or no row with a value
    return database.lower_bound or _floor(low), database.upper_bound or _above(high)


def _floor(value: object) -> str:
    return str(math.floor(value)) if isinstance(value, float | Decimal) else str(value)


def _above(value: object) -> str:
    """Return a bound above the greatest value: equal bounds would make one partition of two rows that are alike."""
    if isinstance(value, int | float | Decimal):
        return str(math.floor(value) + 1)
    return str(value + timedelta(days=1)) if isinstance(value, date) else str(value)
