"""Which versions of which tables a run read: one row each, so that a number can be traced back to its data.

The digest is of what is read, not of what a writer said it wrote; a version never changes, so it is computed once for
each version of a table and looked up afterwards.
"""

from collections.abc import Sequence
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core import clock
from shared.core.parallel import in_parallel
from shared.delta.digest import digest, row_count
from shared.delta.read import read
from shared.delta.tables import TableRef, Warehouse, detail, exists
from shared.delta.write import append_once

LINEAGE = "ops_lineage"
_COLUMNS = (
    "run_id string, step string, `table` string, path string, table_id string, version long, digest string, "
    "rows long, read_ts timestamp"
)


def record(
    spark: SparkSession, warehouse: Warehouse, run_id: str, step: str, reads: Sequence[tuple[TableRef, int]]
) -> None:
    """Append a row for each (table, version) read; the same reads of a run's step are recorded once.

    Raises:
        DataError: there is no such table or version.
    """
    now = clock.utc_now()
    found = in_parallel(spark, [partial(_digest_of, spark, warehouse, ref, version) for ref, version in reads])
    rows = [
        (run_id, step, ref.label, ref.location, table_id, version, content, row_count(content), now)
        for (ref, version), (table_id, content) in zip(reads, found, strict=True)
    ]
    contents = ";".join(f"{row[4]}@{row[5]}={row[6]}" for row in rows)
    append_once(
        spark.createDataFrame(rows, _COLUMNS),
        warehouse.table(LINEAGE),
        app_id=f"lineage:{run_id}:{step}:{contents}",
        version=0,
        digest=contents,
    )


def reads_of(spark: SparkSession, warehouse: Warehouse, run_id: str) -> DataFrame:
    """Return the lineage rows of a run.

    Raises:
        DataError: nothing was ever recorded.
    """
    return read(spark, warehouse.table(LINEAGE)).where(F.col("run_id") == run_id)


def _digest_of(spark: SparkSession, warehouse: Warehouse, ref: TableRef, version: int) -> tuple[str, str]:
    table_id = str(detail(spark, ref)["id"])
    return table_id, _known(spark, warehouse, table_id, version) or digest(read(spark, ref, version))


def _known(spark: SparkSession, warehouse: Warehouse, table_id: str, version: int) -> str | None:
    """Return the digest that an earlier read of the same version of the same table recorded."""
    lineage = warehouse.table(LINEAGE)
    if not exists(spark, lineage):
        return None
    same = (F.col("table_id") == table_id) & (F.col("version") == version)
    found = read(spark, lineage).where(same).select("digest").first()
    return str(found["digest"]) if found else None
