"""Writing tables so that doing it twice is doing it once; every write is one transaction.

Delta alone drops a replayed append silently, whatever it holds: here the content's digest is kept in the commit, and a
replay that carries other rows is refused.
"""

import json
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, DataFrameWriter, Row, SparkSession, Window
from pyspark.sql import functions as F

from shared.core.columns import identifier
from shared.core.errors import DataError
from shared.delta.read import latest_version
from shared.delta.tables import TableRef, exists

_MERGE_TRIES = 5
_CONFLICTS = ("DELTA_CONCURRENT", "ConcurrentAppend", "ConcurrentDelete", "ConcurrentTransaction", "MetadataChanged")


@dataclass(frozen=True)
class Write:
    """What a write did: the version it made, its rows, and whether it was a replay that changed nothing."""

    version: int | None
    rows: int
    is_replay: bool = False


def digest(rows: DataFrame) -> str:
    """Return a digest of the rows' content that does not depend on their order: count, sum and xor of row hashes."""
    hashed = rows.select(F.xxhash64(F.to_json(F.struct("*"), {"ignoreNullFields": "false"})).alias("h"))
    found = hashed.agg(
        F.count("h").alias("n"), F.sum(F.col("h").cast("decimal(38,0)")).alias("s"), F.bit_xor("h").alias("x")
    ).collect()[0]
    return f"{found['n']}:{found['s'] or 0}:{found['x'] or 0}"


def append_once(rows: DataFrame, ref: TableRef, *, app_id: str, version: int, digest: str | None = None) -> Write:
    """Append ``rows`` unless (``app_id``, ``version``) has been appended before.

    Args:
        rows: what to append; columns as the table's.
        ref: the table; made when absent.
        app_id: names the writer, e.g. a stream's checkpoint; a new checkpoint takes a new one.
        version: number of the batch, growing.
        digest: content digest when the caller knows it; computed otherwise.

    Raises:
        DataError: the batch was appended before with other rows.
    """
    content = digest or _digest(rows)
    spark = rows.sparkSession
    before = _commit_of(spark, ref, app_id, version)
    if before is not None:
        note = json.loads(before["userMetadata"])
        if note["digest"] != content:
            raise DataError(
                "REPLAY_DIFFERS",
                f"Batch {version} of {app_id} in {ref.label} was written with digest {note['digest']}; now {content}.",
                "The same rows.",
                "Find out why the source changed, or use a new app_id.",
            )
        return Write(before["version"], 0, is_replay=True)
    note = json.dumps({"app_id": app_id, "version": version, "digest": content})
    writer = rows.write.format("delta").mode("append").option("userMetadata", note)
    _save(writer.option("txnAppId", app_id).option("txnVersion", version), ref)
    return Write(latest_version(spark, ref), int(content.split(":")[0]))


_digest = digest


def overwrite(
    rows: DataFrame,
    ref: TableRef,
    *,
    partition: Mapping[str, object] | None = None,
    schema_may_change: bool = False,
) -> Write:
    """Replace the whole table, or the rows of one partition, in one transaction; makes the table when absent.

    Args:
        rows: the new rows; with ``partition`` all of them belong to it, which Delta checks.
        ref: the table.
        partition: column → value of the rows to replace.
        schema_may_change: the new rows may have other columns; drops what `create` declared.
    """
    writer = rows.write.format("delta").mode("overwrite")
    if partition and exists(rows.sparkSession, ref):
        writer = writer.option("replaceWhere", " AND ".join(_equals(k, v) for k, v in partition.items()))
    elif schema_may_change and not partition:
        writer = writer.option("overwriteSchema", "true")
    _save(writer, ref)
    last = rows.sparkSession.sql(f"DESCRIBE HISTORY {ref.sql} LIMIT 1").collect()[0]
    return Write(last["version"], int(last["operationMetrics"].get("numOutputRows", 0)))


def restore(spark: SparkSession, ref: TableRef, version: int) -> None:
    """Make ``version`` the newest state of the table again, as a new version."""
    spark.sql(f"RESTORE TABLE {ref.sql} TO VERSION AS OF {version}").collect()


def merge_latest(updates: DataFrame, ref: TableRef, *, keys: Sequence[str], order_by: str) -> Write:
    """Insert new keys and update those for which ``updates`` holds a newer row.

    Of several updates of a key the one with the greatest ``order_by`` counts; ties go to the least row hash, so that a
    repeat chooses the same. A row as old as the table's, or older, changes nothing. Conflicts with other writers are
    retried a few times.
    """
    if not exists(updates.sparkSession, ref):
        _save(updates.limit(0).write.format("delta").mode("append"), ref)
    spark = updates.sparkSession
    newest = Window.partitionBy(*keys).orderBy(F.col(order_by).desc(), F.xxhash64(F.struct("*")))
    source = updates.withColumn("_place", F.row_number().over(newest)).where("_place = 1").drop("_place")
    view = f"_updates_{uuid.uuid4().hex}"
    source.createOrReplaceTempView(view)
    match = " AND ".join(f"t.`{identifier(key)}` = s.`{key}`" for key in keys)
    newer = f"s.`{identifier(order_by)}` > t.`{order_by}`"
    statement = (
        f"MERGE INTO {ref.sql} t USING {view} s ON {match} "
        f"WHEN MATCHED AND {newer} THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )
    try:
        changed = _with_retries(spark, statement)
    finally:
        spark.catalog.dropTempView(view)
    return Write(latest_version(spark, ref), changed)


def _with_retries(spark: SparkSession, statement: str) -> int:
    for tried in range(1, _MERGE_TRIES + 1):
        try:
            return int(spark.sql(statement).collect()[0]["num_affected_rows"])
        except PySparkException as error:
            if tried == _MERGE_TRIES or not any(word in str(error) for word in _CONFLICTS):
                raise
            time.sleep(random.uniform(0.1, 0.5) * 2**tried)
    raise AssertionError  # pragma: no cover


def _save(writer: DataFrameWriter, ref: TableRef) -> None:
    if ref.path is not None:
        writer.save(ref.path)
    else:
        writer.saveAsTable(ref.name)


def _commit_of(spark: SparkSession, ref: TableRef, app_id: str, version: int) -> Row | None:
    if not exists(spark, ref):
        return None
    note = F.col("userMetadata")
    commits = spark.sql(f"DESCRIBE HISTORY {ref.sql}").where(
        (F.get_json_object(note, "$.app_id") == app_id) & (F.get_json_object(note, "$.version") == str(version))
    )
    return commits.first()


def _equals(name: str, value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"`{identifier(name)}` = {value if isinstance(value, int | float) else chr(39) + text + chr(39)}"
