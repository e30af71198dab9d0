"""Which versions of which tables a run read: one row each, so that a number can be traced back to its data.

The digest is of what is read, not of what a writer said it wrote; a version never changes, so it is computed once for
each version of a table and looked up afterwards.
"""

from collections.abc import Sequence
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core import clock
from shared.core.errors import DataError
from shared.core.parallel import in_parallel
from shared.delta.digest import digest, row_count
from shared.delta.problems import FAILURES
from shared.delta.read import history, read
from shared.delta.tables import TableRef, Warehouse, detail, exists
from shared.delta.write import append_once

LINEAGE = "ops_lineage"
_COLUMNS = (
    "run_id string, step string, `table` string, path string, table_id string, version long, digest string, "
    "rows long, read_ts timestamp"
)


def record(
    spark: SparkSession, warehouse: Warehouse, run_id: str, step: str, reads: Sequence[tuple[TableRef, int]]
) -> dict[str, str]:
    """Append a row for each (table, version) read, and return the digests by name; the same reads are recorded once.

    A step records while it works, so what a step read that failed afterwards is recorded too.

    Raises:
        DataError: there is no such table or version.
    """
    now = clock.utc_now()
    opened = [read(spark, ref, version) for ref, version in reads]
    ids = in_parallel(spark, [partial(_id_of, spark, ref) for ref, _ in reads])
    known = _known(spark, warehouse, ids, [version for _, version in reads])
    found = in_parallel(
        spark,
        [
            partial(_digest_of, known.get((table_id, version)), rows)
            for rows, table_id, (_, version) in zip(opened, ids, reads, strict=True)
        ],
    )
    rows = [
        (run_id, step, ref.label, ref.location, table_id, version, content, row_count(content), now)
        for (ref, version), table_id, content in zip(reads, ids, found, strict=True)
    ]
    contents = ";".join(f"{row[4]}@{row[5]}={row[6]}" for row in rows)
    append_once(
        spark.createDataFrame(rows, _COLUMNS),
        warehouse.table(LINEAGE),
        app_id=f"lineage:{run_id}:{step}:{contents}",
        version=0,
        digest=contents,
    )
    return {row[2]: row[6] for row in rows}


def check_digest(spark: SparkSession, ref: TableRef, version: int, expected: str) -> None:
    """Refuse a version of a table that holds other rows than those with the digest ``expected``; empty is not compared.

    Raises:
        DataError: TABLE_CHANGED, or VERSION_GONE when the version is no longer in the log or its files were removed.
    """
    try:
        found = digest(read(spark, ref, version))
    except (DataError, *FAILURES) as error:
        raise DataError(
            "VERSION_GONE",
            f"Version {version} of {ref.label} can no longer be read: {str(error).strip().splitlines()[0]}",
            "A version whose files VACUUM left; shared/delta/maintenance.py keeps those that runs read.",
            "Restore the table from a backup, or train again from the newest version.",
        ) from error
    if expected and found != expected:
        raise DataError(
            "TABLE_CHANGED",
            f"Version {version} of {ref.label} has the digest {found}.",
            f"{expected}, as when it was read.",
            "This is another table of that name, or its files were changed: check --warehouse.",
        )


def reads_of(spark: SparkSession, warehouse: Warehouse, run_id: str) -> DataFrame:
    """Return the lineage rows of a run.

    Raises:
        DataError: nothing was ever recorded.
    """
    return read(spark, warehouse.table(LINEAGE)).where(F.col("run_id") == run_id)


def unchanged_since(spark: SparkSession, warehouse: Warehouse, name: str, version: int, run_id: str, step: str) -> int:
    """Return the oldest version with the rows of ``version``, and record the read of it.

    Looked up among the versions that were ever read, back to the first with other rows.

    Raises:
        DataError: there is no such table or version.
    """
    ref = warehouse.table(name)
    content = record(spark, warehouse, run_id, step, [(ref, version)])[ref.label]
    of_table = (F.col("table_id") == _id_of(spark, ref)) & (F.col("version") < version)
    known = read(spark, warehouse.table(LINEAGE)).where(of_table).select("version", "digest").distinct()
    since = version
    for row in sorted(known.collect(), key=lambda row: -row["version"]):  # a row for each version that was read
        if row["digest"] != content:
            break
        since = row["version"]
    return since


def versions_read(spark: SparkSession, ref: TableRef) -> list[int]:
    """Return the versions of the table that recorded runs of its warehouse read, as far as its log still has them.

    Raises:
        DataError: there is no such table.
    """
    read(spark, ref)
    lineage = ref.beside(LINEAGE)
    if not exists(spark, lineage):
        return []
    there = history(spark, ref).select("version")
    rows = read(spark, lineage).where(F.col("table_id") == _id_of(spark, ref)).join(there, "version", "left_semi")
    return sorted(row["version"] for row in rows.select("version").distinct().collect())


def _id_of(spark: SparkSession, ref: TableRef) -> str:
    return str(detail(spark, ref)["id"])


def _digest_of(known: str | None, rows: DataFrame) -> str:
    return known or digest(rows)


def _known(
    spark: SparkSession, warehouse: Warehouse, table_ids: Sequence[str], versions: Sequence[int]
) -> dict[tuple[str, int], str]:
    """Return the digests that earlier reads of these tables and versions recorded."""
    lineage = warehouse.table(LINEAGE)
    if not exists(spark, lineage):
        return {}
    asked = F.col("table_id").isin(list(table_ids)) & F.col("version").isin(list(versions))
    rows = read(spark, lineage).where(asked).select("table_id", "version", "digest").distinct().collect()
    return {(row["table_id"], row["version"]): row["digest"] for row in rows}
