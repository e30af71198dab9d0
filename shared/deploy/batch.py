"""Scores of all entities, of which only those are made anew, and rewritten, for whom something changed.

A row is scored when the model, or what the model reads of it, is another than its score was made from; it is rewritten
when any of its columns is. The table changes in one transaction, so nobody reads the scores of half a run.
"""

import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.columns import identifier
from shared.delta.problems import explained, retried
from shared.delta.read import latest_version, read
from shared.delta.tables import TableRef, opened
from shared.delta.write import append_once, overwrite

_CHANGE: Final = "_change"
_ROW: Final = "_row"
_INSERTED, _UPDATED, _REMOVED, _UNCHANGED = "inserted", "updated", "removed", "unchanged"


@dataclass(frozen=True)
class Published:
    """What became of the rows of a table.

    Args:
        version: the newest version of the table afterwards.
        inserted, updated, removed, unchanged: rows; only the first three were written.
    """

    version: int
    inserted: int
    updated: int
    removed: int
    unchanged: int

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return self.inserted + self.updated + self.unchanged


def known_and_new(
    rows: DataFrame, current: DataFrame | None, *, key: str, made_from: Sequence[str], kept: Sequence[str]
) -> tuple[DataFrame | None, DataFrame]:
    """Return the rows whose score is known, with the columns ``kept`` of it, and those that are to be scored.

    Args:
        rows: one row per ``key``, which is not null, with the columns ``made_from``.
        current: the scores there are, with ``key``, ``made_from`` and ``kept``; None, or without one of these columns,
            means that none is known.
        key: names the entity.
        made_from: columns that decide a score, such as model version and hash of the inputs; they are not null.
        kept: columns of a score that follow from ``made_from`` alone.
    """
    if current is None or not {key, *made_from, *kept} <= set(current.columns):
        return None, rows
    names = [key, *made_from]
    scores = current.select(*names, *kept)
    return rows.join(scores, names), rows.join(scores, names, "left_anti")


def in_parts(
    rows: DataFrame,
    score: Callable[[DataFrame], DataFrame],
    ref: TableRef,
    *,
    key: str,
    made_from: Sequence[str],
    kept: Sequence[str],
    rows_per_part: int,
) -> tuple[DataFrame, int]:
    """Return ``rows`` with the columns ``kept`` of ``score(rows)``, and how many were scored just now.

    Many rows are scored part by part, and each part stays in ``ref`` until `forget_parts`: after a kill the same call
    scores what was not done. Few rows are scored when they are used, and nothing stays.

    Args:
        rows: rows to score, read once for each part.
        score: adds ``kept``.
        ref: table of finished parts.
        key, made_from, kept: as in `known_and_new`.
        rows_per_part: about how many rows are scored at once.
    """
    spark = rows.sparkSession
    done, names = opened(spark, ref), [key, *made_from]
    left = rows if done is None else rows.join(done, names, "left_anti")
    count = left.count()
    if count <= rows_per_part and (done is None or done.isEmpty()):
        return score(rows), count
    parts, attempt = math.ceil(count / rows_per_part), uuid.uuid4().hex
    for part in range(parts):
        # By another seed than any split or shuffle: the parts of a bucket would not be even.
        chosen = left.where(F.pmod(F.xxhash64(F.lit(ref.name), key), F.lit(parts)) == part)
        scored = score(chosen).select(*names, *kept)
        append_once(scored, ref, app_id=f"parts:{attempt}", version=part, digest=str(part))
    return rows.join(read(spark, ref), names), count


def forget_parts(spark: SparkSession, ref: TableRef) -> None:
    """Empty the table of finished parts, when what they were made for has been published."""
    done = opened(spark, ref)
    if done is not None and not done.isEmpty():
        overwrite(done.limit(0), ref)


def publish(rows: DataFrame, ref: TableRef, *, key: str) -> Published:
    """Make the table hold exactly ``rows``, rewriting only those that changed, in one transaction.

    When nothing changed there is no commit. A table of other columns, or without one row that stays, is replaced.

    Args:
        rows: one row per ``key``, which is not null; persist them when they are dear, since they are read more than once.
        ref: the table; made when absent.
        key: names the entity.

    Raises:
        EnvironmentProblem: other writers were in the way each time.
    """
    spark = rows.sparkSession
    current = opened(spark, ref)
    if current is None or dict(current.dtypes) != dict(rows.dtypes):
        before, stay = 0, 0
        if current is not None:
            before = current.count()
            stay = current.join(rows, key, "left_semi").count() if key in current.columns else 0
        written = overwrite(rows, ref, schema_may_change=True, searched_by=[key])
        return Published(written.version, written.rows - stay, stay, before - stay, 0)
    changes = _changes(rows, current, key).persist()
    try:
        counts = {row[_CHANGE]: row["count"] for row in changes.groupBy(_CHANGE).count().collect()}
        inserted, updated, removed, unchanged = (
            counts.get(kind, 0) for kind in (_INSERTED, _UPDATED, _REMOVED, _UNCHANGED)
        )
        if not inserted + updated + removed:
            return Published(latest_version(spark, ref), 0, 0, 0, unchanged)
        if unchanged:
            version = _merge(changes.where(F.col(_CHANGE) != _UNCHANGED), ref, key)
        else:
            version = overwrite(rows, ref).version
    finally:
        changes.unpersist()
    return Published(version, inserted, updated, removed, unchanged)


def _changes(rows: DataFrame, current: DataFrame, key: str) -> DataFrame:
    """Return the columns of ``rows`` and what became of each row; a removed one has its key alone."""
    old, new = f"{_ROW}_old", f"{_ROW}_new"
    here = current.select(F.col(key).alias("_old_key"), F.struct(*rows.columns).alias(old))
    there = rows.select(F.col(key).alias("_new_key"), F.struct(*rows.columns).alias(new))
    joined = here.join(there, F.col("_old_key") == F.col("_new_key"), "full_outer")
    change: Column = (
        F.when(F.col("_new_key").isNull(), _REMOVED)
        .when(F.col("_old_key").isNull(), _INSERTED)
        .when(F.col(old).eqNullSafe(F.col(new)), _UNCHANGED)
        .otherwise(_UPDATED)
    )
    values = [
        F.coalesce("_new_key", "_old_key").alias(key) if name == key else F.col(f"{new}.`{name}`").alias(name)
        for name in rows.columns
    ]
    return joined.select(*values, change.alias(_CHANGE))


def _merge(changes: DataFrame, ref: TableRef, key: str) -> int:
    spark = changes.sparkSession
    view = f"_changes_{uuid.uuid4().hex}"
    statement = (
        f"MERGE INTO {ref.sql} t USING {view} s ON t.`{identifier(key)}` = s.`{key}` "
        f"WHEN MATCHED AND s.`{_CHANGE}` = '{_REMOVED}' THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET * "
        f"WHEN NOT MATCHED AND s.`{_CHANGE}` <> '{_REMOVED}' THEN INSERT *"
    )
    changes.createOrReplaceTempView(view)
    try:
        with explained(ref):
            retried(ref, lambda: spark.sql(statement).collect())
    finally:
        spark.catalog.dropTempView(view)
    return latest_version(spark, ref)
