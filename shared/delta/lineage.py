"""Which versions of which tables a run read: one row each, so that a number can be traced back to its data."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core import clock
from shared.delta.read import read
from shared.delta.tables import TableRef, Warehouse
from shared.delta.write import append_once, digest

LINEAGE = "ops_lineage"
_COLUMNS = "run_id string, step string, table string, path string, version long, digest string, read_ts timestamp"


def record(
    spark: SparkSession, warehouse: Warehouse, run_id: str, step: str, reads: Sequence[tuple[TableRef, int]]
) -> None:
    """Append one row per (table, version) with the digest of its content; once per run and step."""
    now = clock.utc_now()
    rows = [
        (run_id, step, ref.label, ref.path or ref.name, version, digest(read(spark, ref, version)), now)
        for ref, version in reads
    ]
    content = ";".join(f"{row[2]}@{row[4]}={row[5]}" for row in rows)
    append_once(
        spark.createDataFrame(rows, _COLUMNS),
        warehouse.table(LINEAGE),
        app_id=f"lineage:{run_id}:{step}",
        version=0,
        digest=f"{len(rows)}:{content}",
    )


def reads_of(spark: SparkSession, warehouse: Warehouse, run_id: str) -> DataFrame:
    """Return the lineage rows of a run."""
    return read(spark, warehouse.table(LINEAGE)).where(F.col("run_id") == run_id)
