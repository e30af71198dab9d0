"""The trend of data quality: what share of the rows each ingestion put aside, and a stream on each day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import DataError, EnvironmentProblem
from shared.core.parallel import in_parallel
from shared.delta.problems import FAILURES
from shared.delta.read import history, read
from shared.delta.tables import TableRef, exists
from shared.features.point_in_time import utc_date
from shared.monitoring.settings import MonitoringConfig
from shared.monitoring.statistics import share_p_value
from shared.quality.suite import ANY_RULE

CHECKED: Final = "checked"
REJECTED: Final = "rejected"
"""Fields of what a batch of a stream decided: how many events it held, and how many of them were put aside."""

_POINTS = 12


@dataclass(frozen=True)
class Rejected:
    """What was put aside by one ingestion, or by a stream on one day (UTC)."""

    day: date
    checked: int
    rejected: int

    @property
    def share(self) -> float:
        """Share of the rows, 0 to 1."""
        return self.rejected / self.checked if self.checked else 0.0

    def rise(self, before: Sequence["Rejected"], settings: MonitoringConfig) -> str:
        """Return in words by how much more was put aside than in one of those ``before``; else nothing.

        The rise must be beyond chance against one of them, at ``alpha`` corrected for their number (Bonferroni). Held against the last one
        alone, what stays broken would be fine the second time.
        """
        known = [each for each in before if each.checked]
        if not self.checked or not known:
            return ""
        tested = [each for each in known if self.share - each.share >= settings.min_quality_change]
        beyond = [
            each
            for each in tested
            if share_p_value(self.rejected, self.checked, each.rejected, each.checked) * len(known) < settings.alpha
        ]
        if not beyond:
            return ""
        least = min(beyond, key=lambda each: each.share)
        return f"{self.share:.1%} of the rows were put aside, {least.share:.1%} on {least.day}"


def trend(spark: SparkSession, rules: TableRef, decisions: TableRef) -> list[Rejected]:
    """Return the last twelve points, oldest first: ingestions, then the days of the stream that took their place.

    The table of rules is written whole by every ingestion, so its versions are the history; those whose files VACUUM took
    are left out, and so are batches of a stream that did not count.

    Args:
        spark: the session.
        rules: rows of `shared.quality.report.COLUMNS` with a column ``table``; none when absent.
        decisions: of `shared.deploy.stream.decided_once`, with `CHECKED` and `REJECTED`; none when absent.
    """
    days = _days(spark, decisions)
    return [*_ingestions(spark, rules, _POINTS - len(days)), *days]


def _days(spark: SparkSession, decisions: TableRef) -> list[Rejected]:
    if not exists(spark, decisions):
        return []
    rows = read(spark, decisions)
    batches = rows.select(
        utc_date(rows, "decided_ts").alias("day"),
        F.from_json("decision", f"{CHECKED} long, {REJECTED} long").alias("counts"),
    ).where(F.col("counts")[CHECKED].isNotNull())
    of_day = batches.groupBy("day").agg(F.sum(F.col("counts")[CHECKED]), F.sum(F.col("counts")[REJECTED]))
    newest_first = of_day.orderBy(F.desc("day")).limit(_POINTS).collect()
    return [Rejected(*row) for row in reversed(newest_first)]


def _ingestions(spark: SparkSession, rules: TableRef, limit: int) -> list[Rejected]:
    if not limit or not exists(spark, rules):
        return []
    log = history(spark, rules, 4 * _POINTS)
    writes = log.where(F.col("operation").contains("WRITE") | F.col("operation").contains("CREATE"))
    commits = writes.select("version", utc_date(log, "timestamp").alias("day")).collect()[:limit]
    newest = max((commit["version"] for commit in commits), default=None)
    counted: Sequence[Any] = in_parallel(
        spark,
        [partial(_counted, spark, rules, commit["version"], commit["version"] == newest) for commit in commits],
    )
    newest_first = [
        Rejected(commit["day"], *counts) for commit, counts in zip(commits, counted, strict=True) if counts is not None
    ]
    return newest_first[::-1]


def _counted(spark: SparkSession, table: TableRef, version: int, must_be_there: bool) -> tuple[int, int] | None:
    """Return rows checked and put aside; None when VACUUM took the files of an old version."""
    try:
        return _counts(read(spark, table, version))
    except (DataError, EnvironmentProblem, *FAILURES):
        if must_be_there:
            raise
        return None


def _counts(rules: DataFrame) -> tuple[int, int]:
    is_any = F.col("rule") == ANY_RULE
    of_table = (
        rules.where("scope = 'rows'")
        .groupBy("table")
        .agg(
            F.max("checked_count").alias("checked"),
            F.coalesce(F.max(F.when(is_any, F.col("failed_count"))), F.lit(0)).alias("failed"),
        )
    )
    row = of_table.agg(F.sum("checked"), F.sum("failed")).collect()[0]
    return int(row[0] or 0), int(row[1] or 0)
