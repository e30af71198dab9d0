"""Writing tables so that doing it twice is doing it once; every write is one transaction.

Delta alone drops a replayed append silently, whatever it holds: here the content's digest is kept in the commit, and a
replay that carries other rows is refused.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, DataFrameWriter, Row, SparkSession, Window
from pyspark.sql import functions as F

from shared.core.columns import identifier, quoted
from shared.core.errors import DataError, did_you_mean
from shared.delta.digest import digest as content_digest
from shared.delta.digest import row_count, row_hash
from shared.delta.problems import explained, retried
from shared.delta.read import history, latest_version, read
from shared.delta.tables import MADE_WITH, TableRef, opened, predicate

# A commit is among the newest but for many other writers; None is the whole log.
_COMMITS_LOOKED_AT = (8, None)


@dataclass(frozen=True)
class Write:
    """What a write did.

    Args:
        version: the version it made; for a replay the one made at first; for a merge, and where no rows were replaced by
            none, the newest afterwards.
        rows: rows written, or updated and inserted.
        is_replay: True when the same had been written before, and nothing was changed.
    """

    version: int
    rows: int
    is_replay: bool = False


def append_once(
    rows: DataFrame,
    ref: TableRef,
    *,
    app_id: str,
    version: int,
    digest: str | None = None,
    new_columns: Sequence[str] = (),
) -> Write:
    """Append ``rows`` unless batch ``version`` of ``app_id`` has been appended before.

    Without ``digest`` the rows are computed twice, once for the digest: persist them when that is dear, and when
    computing them twice may give two results.

    Args:
        rows: what to append; columns as the table's, in any order.
        ref: the table; made when absent.
        app_id: names the writer, e.g. a stream's checkpoint; a new checkpoint takes a new one.
        version: number of the batch; grows from one batch to the next.
        digest: digest of the content when the caller knows one, in any form; computed otherwise.
        new_columns: columns the table may gain from these rows.

    Raises:
        DataError: the batch was appended before with other rows, or a later one was; the rows do not fit the table.
    """
    spark = rows.sparkSession
    there = opened(spark, ref)
    evolves = _check_columns(rows, there, ref, new_columns)
    content = digest or content_digest(rows)
    note: dict[str, object] = {"write_id": uuid.uuid4().hex, "app_id": app_id, "version": version, "digest": content}
    if digest is None:
        note["rows"] = row_count(content)
    if ref.path is None and there is None:
        _make_empty(rows, ref)  # a catalog would make it in the same commit, but drop the note
    writer = _writer(rows, "append", json.dumps(note)).option("txnAppId", app_id).option("txnVersion", version)
    if evolves:
        writer = writer.option("mergeSchema", "true")
    _save(writer, ref)
    commit = _commit_of(spark, ref, app_id=app_id, version=version)
    if commit is None:
        raise DataError(
            "BATCH_OUT_OF_ORDER",
            f"{ref.label} has a later batch of {app_id}, and none with number {version} in its log; nothing was written.",
            "Batch numbers that grow.",
            "Use a new app_id for a new checkpoint.",
        )
    first = json.loads(commit["userMetadata"])
    if first["write_id"] == note["write_id"]:
        return Write(commit["version"], _rows_of(commit))
    if first["digest"] != content:
        raise DataError(
            "REPLAY_DIFFERS",
            f"Batch {version} of {app_id} was written to {ref.label} with digest {first['digest']} and is now {content}.",
            "The same rows; nothing was written.",
            "Find out why the source changed, or use a new app_id.",
        )
    return Write(commit["version"], 0, is_replay=True)


def overwrite(
    rows: DataFrame,
    ref: TableRef,
    *,
    partition: Mapping[str, object] | None = None,
    schema_may_change: bool = False,
    searched_by: Sequence[str] | None = None,
    note: Mapping[str, object] | None = None,
) -> Write:
    """Replace the whole table, or the rows of one partition, in one transaction; makes the table when absent.

    The table keeps its constraints, properties and layout. Rows may come from the table itself.

    Args:
        rows: the new rows; with ``partition`` all of them belong to it.
        ref: the table; when absent, it is made partitioned by the columns of ``partition``.
        partition: column → value of the rows to replace; None is null.
        schema_may_change: the new rows may have other columns; drops the NOT NULL and layout that `create` declared. Of a
            table that `create` made, key, clustering and time columns must stay: Delta keeps their bounds.
        searched_by: when the table is made here, the columns whose least and greatest value in each file is kept, by which
            a search skips files; all of them cost a quarter of the write. None leaves the choice to Delta.
        note: kept in the user metadata of the commit.

    Raises:
        DataError: the rows do not fit the table or the partition; the table is as it was.
    """
    spark = rows.sparkSession
    write_id = uuid.uuid4().hex
    writer = _writer(rows, "overwrite", json.dumps({**(note or {}), "write_id": write_id}))
    if searched_by is not None:
        kept = {"delta.dataSkippingStatsColumns": quoted(searched_by)} if searched_by else {}
        writer = writer.options(**(kept or {"delta.dataSkippingNumIndexedCols": "0"}))
    where = predicate(partition or {}) or "true"
    there = opened(spark, ref)
    if there is None:
        if partition:
            writer = writer.option("replaceWhere", where).partitionBy(*partition)
    elif schema_may_change and not partition:
        writer = writer.option("overwriteSchema", "true")
    else:
        _check_columns(rows, there, ref)
        # Replacing "where true" and not simply all: a plain overwrite loses the clustering, by name everything else too.
        writer = writer.option("replaceWhere", where)
    _save(writer, ref)
    commit = _commit_of(spark, ref, write_id=write_id)
    if commit is None:
        return Write(latest_version(spark, ref), 0)  # no rows instead of no rows is no commit
    if "numOutputRows" not in commit["operationMetrics"]:
        # Delta counts a replacing write by the statistics of its files, which may be switched off.
        return Write(commit["version"], read(spark, ref, commit["version"]).where(where).count())
    return Write(commit["version"], _rows_of(commit))


def merge_latest(
    updates: DataFrame, ref: TableRef, *, keys: Sequence[str], order_by: str, new_columns: Sequence[str] = ()
) -> Write:
    """Insert new keys and update those for which ``updates`` holds a newer row; batches may come in any order.

    Of several updates of a key the one with the greatest ``order_by`` counts; among equals the one with the least row
    hash, so that a repeat chooses the same. A row as old as the table's, or older, changes nothing, so of two batches
    with the same key and ``order_by`` the first to come stays. A null ``order_by`` is older than all others; null keys
    equal each other. Conflicts with other writers are retried a few times.

    Args:
        updates: new or changed rows; columns as the table's, in any order.
        ref: the table; made when absent.
        keys: columns that identify a row.
        order_by: column that says which of two rows is newer.
        new_columns: columns the table may gain from these rows.

    Raises:
        DataError: the rows do not fit the table.
        EnvironmentProblem: other writers were in the way each time.
    """
    spark = updates.sparkSession
    known = opened(spark, ref)
    evolution = "WITH SCHEMA EVOLUTION " if _check_columns(updates, known, ref, new_columns) else ""
    if known is None:
        _make_empty(updates, ref)
    match = " AND ".join(f"t.`{identifier(key)}` <=> s.`{key}`" for key in keys)
    there, here = f"t.`{identifier(order_by)}`", f"s.`{order_by}`"
    view = f"_updates_{uuid.uuid4().hex}"
    statement = (
        f"MERGE {evolution}INTO {ref.sql} t USING {view} s ON {match} "
        f"WHEN MATCHED AND ({here} > {there} OR ({there} IS NULL AND {here} IS NOT NULL)) THEN UPDATE SET * "
        "WHEN NOT MATCHED THEN INSERT *"
    )
    _newest(updates, keys, order_by).createOrReplaceTempView(view)
    try:
        with explained(ref):
            changed = retried(ref, lambda: spark.sql(statement).collect()[0]["num_affected_rows"])
    finally:
        spark.catalog.dropTempView(view)
    return Write(latest_version(spark, ref), int(changed))


def restore(spark: SparkSession, ref: TableRef, version: int) -> None:
    """Make ``version`` the newest state of the table again, as a new version.

    Raises:
        DataError: there is no such table or version.
    """
    read(spark, ref, version)
    retried(ref, lambda: spark.sql(f"RESTORE TABLE {ref.sql} TO VERSION AS OF {version}").collect())


def _newest(updates: DataFrame, keys: Sequence[str], order_by: str) -> DataFrame:
    newest_first = Window.partitionBy(*keys).orderBy(F.col(order_by).desc_nulls_last(), row_hash(updates))
    place = F.row_number().over(newest_first)
    return updates.withColumn("_place", place).where(F.col("_place") == 1).drop("_place")


def _check_columns(rows: DataFrame, table: DataFrame | None, ref: TableRef, new_columns: Sequence[str] = ()) -> bool:
    """Tell whether the rows bring allowed new columns; Delta would fill a missing one with nulls, unasked."""
    if table is None:
        return False
    there = table.columns
    known, given = ({name.lower() for name in names} for names in (there, rows.columns))
    allowed = {name.lower() for name in new_columns}
    missing = [name for name in there if name.lower() not in given]
    extra = [name for name in rows.columns if name.lower() not in known | allowed]
    if missing or extra:
        hint = did_you_mean(extra[0], missing) if extra else ""
        raise DataError(
            "SCHEMA_MISMATCH",
            f"{ref.label} has columns {there}; the rows lack {missing} and have {extra} besides.",
            f"The table's columns. {hint}".rstrip(),
            "Rename them, or allow new ones by name.",
        )
    return not given <= known


def _make_empty(rows: DataFrame, ref: TableRef) -> None:
    _save(_writer(rows.limit(0), "append", ""), ref)


def _writer(rows: DataFrame, mode: str, note: str) -> DataFrameWriter:
    # The properties count where the write makes the table.
    return rows.write.format("delta").mode(mode).options(**MADE_WITH).option("userMetadata", note)


def _save(writer: DataFrameWriter, ref: TableRef) -> None:
    with explained(ref):
        retried(ref, lambda: writer.save(ref.path) if ref.path is not None else writer.saveAsTable(ref.sql))


def _commit_of(spark: SparkSession, ref: TableRef, **note: object) -> Row | None:
    """Return the commit whose note has these values: the newest, else one of the newest, else in the whole log."""
    newest: Row = history(spark, ref, 1).collect()[0]
    if _has_note(newest, note):
        return newest  # nearly always, and seen without a query
    is_it = F.lit(True)
    for key, value in note.items():
        is_it = is_it & (F.get_json_object("userMetadata", f"$.{key}") == str(value))
    for limit in _COMMITS_LOOKED_AT:
        commit: Row | None = history(spark, ref, limit).where(is_it).first()
        if commit is not None:
            return commit
    return None


def _has_note(commit: Row, note: Mapping[str, object]) -> bool:
    try:
        found = json.loads(commit["userMetadata"] or "")
    except ValueError:  # another writer's words
        return False
    return isinstance(found, dict) and note.items() <= found.items()


def _rows_of(commit: Row) -> int:
    metrics: dict[str, str] = commit["operationMetrics"]
    # Files that hold replaced and other rows are written anew; the other rows were only copied.
    return int(metrics.get("numOutputRows", 0)) - int(metrics.get("numCopiedRows", 0))
