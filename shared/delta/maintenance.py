"""Keeping tables fast and small: compaction, and the removal of files that no version in use needs.

VACUUM deletes for good, and Delta does not know which versions a model was trained on. The lineage of the warehouse does: a
removal that would take a file of a version that a recorded run read is refused, unless the versions to keep are named. Tables
keep the log of their versions for a year (`shared.delta.tables.MADE_WITH`); older versions cannot be read, files or not.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shared.core.errors import DataError
from shared.delta.lineage import versions_read
from shared.delta.problems import retried
from shared.delta.read import history, latest_version, read
from shared.delta.tables import TableRef

SAFE_HOURS = 168
_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
_LISTED = 3


@dataclass(frozen=True)
class Optimized:
    """What a compaction did: files taken out and put in."""

    files_removed: int
    files_added: int


@dataclass(frozen=True)
class Vacuumed:
    """What a vacuum removed, or would remove.

    Args:
        files: number of files; platforms that list at most 1,000 give no more than that.
        is_dry_run: True when nothing was removed.
    """

    files: int
    is_dry_run: bool


def optimize(spark: SparkSession, ref: TableRef) -> Optimized:
    """Merge small files, by the clustering of the table where it has one; rows and older versions stay as they are.

    Raises:
        DataError: there is no such table.
        EnvironmentProblem: other writers were in the way each time.
    """
    read(spark, ref)
    metrics = retried(ref, lambda: spark.sql(f"OPTIMIZE {ref.sql}").collect()[0]["metrics"])
    return Optimized(int(metrics["numFilesRemoved"]), int(metrics["numFilesAdded"]))


def vacuum(
    spark: SparkSession,
    ref: TableRef,
    *,
    keep_hours: float = SAFE_HOURS,
    keep_versions: Sequence[int] | None = None,
    below_safe_hours: bool = False,
    dry_run: bool = False,
) -> Vacuumed:
    """Remove files that no version of the last ``keep_hours`` hours needs; older versions cannot be read afterwards.

    Args:
        spark: the session.
        ref: the table.
        keep_hours: age in hours of the oldest version that stays readable.
        keep_versions: versions that must stay readable whatever their age; those that recorded runs read when None.
        below_safe_hours: allow less than 168 hours, which can take files from under a running reader or writer.
        dry_run: only count.

    Raises:
        DataError: a version to keep would lose files, or is not there any more; nothing was removed. Or fewer than 168
            hours without the word for it; or there is no such table.
    """
    if keep_hours < 0 or (keep_hours < SAFE_HOURS and not below_safe_hours):
        raise DataError(
            "RETENTION_TOO_SHORT",
            f"Files of {ref.label} from {keep_hours:g} hours ago may still be in use.",
            f"At least {SAFE_HOURS} hours.",
            "Keep more, or pass below_safe_hours when nothing reads or writes the table.",
        )
    needed = versions_read(spark, ref) if keep_versions is None else keep_versions
    lost = _lost(spark, ref, keep_hours, needed)
    if lost:
        raise DataError(
            "VERSION_NEEDED",
            f"Removing would take {sum(map(len, lost.values()))} files of versions {sorted(lost)} of {ref.label}, "
            f"e.g. {sorted(next(iter(lost.values())))[:_LISTED]}.",
            "Versions that runs read stay readable.",
            "Keep more hours, or name the versions that are still needed (keep_versions).",
        )
    statement = f"VACUUM {ref.sql} RETAIN {keep_hours:g} HOURS"
    with _delta_check(spark, is_off=keep_hours < SAFE_HOURS):
        listed = spark.sql(f"{statement} DRY RUN").collect()
        if not dry_run:
            spark.sql(statement).collect()
    return Vacuumed(len(listed), dry_run)


def _lost(spark: SparkSession, ref: TableRef, keep_hours: float, versions: Sequence[int]) -> dict[int, set[str]]:
    """Return the files that each version would lose.

    Kept are the files of the newest version, and those taken out of the table since the cutoff: they were still in the
    version that was the newest then.
    """
    newest = latest_version(spark, ref)
    if not versions:
        return {}
    cutoff = F.current_timestamp() - F.make_dt_interval(hours=F.lit(int(keep_hours)), mins=F.lit(keep_hours % 1 * 60))
    at_cutoff = history(spark, ref).where(F.col("timestamp") < cutoff).agg(F.max("version")).collect()[0][0]
    files = {version: set(read(spark, ref, version).inputFiles()) for version in {*versions, newest}}
    if at_cutoff is None:
        return {}
    kept = files[newest] | set(read(spark, ref, at_cutoff).inputFiles())
    return {version: files[version] - kept for version in versions if version <= at_cutoff and files[version] - kept}


@contextmanager
def _delta_check(spark: SparkSession, *, is_off: bool) -> Iterator[None]:
    """Turn Delta's own guard of 168 hours off for a while; ours has been asked."""
    if not is_off:
        yield
        return
    before = spark.conf.get(_CHECK, "true") or "true"
    spark.conf.set(_CHECK, "false")
    try:
        yield
    finally:
        spark.conf.set(_CHECK, before)
