"""One batch of a stream into bronze, silver and quarantine, each exactly once, however often the batch is tried.

A batch is judged once, when it lands in bronze; a repeat after a failure takes bronze's word, not today's state of silver,
which may hold the batch's own rows already.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core import clock
from shared.core.columns import INGEST_ID, RAW, SOURCE_FILE, Table
from shared.core.errors import DataError
from shared.delta.read import read
from shared.delta.tables import Warehouse, create, exists
from shared.delta.write import append_once, merge_latest
from shared.ingest import pipeline
from shared.ingest.failures import Parsed
from shared.ingest.quarantine import is_fine, rejected
from shared.ingest.source import Source
from shared.quality import suite
from shared.quality.expectations import Expectation, satisfies, unique
from shared.quality.suite import RuleResult

_IS_KNOWN = "_is_known"
_ORDER = "_order"
_VALUE = "_value"


@dataclass(frozen=True)
class Batch:
    """A batch of a stream.

    Args:
        app_id: id of the query, which its checkpoint keeps; a new checkpoint has another.
        number: the batch's, which grows by one.
        may_be_repeat: whether an earlier process may have begun it; only the first batch of a process can be one.
    """

    app_id: str
    number: int
    may_be_repeat: bool = True

    @property
    def ingest_id(self) -> str:
        """What its rows carry in bronze and quarantine; the number first, as Delta's bounds of a text end after 32 letters."""
        return f"{self.number}:{self.app_id}"


@dataclass(frozen=True)
class Taken:
    """What became of a batch; ``rows_read = rows_written + rows_quarantined``.

    Args:
        accepted: the rows that silver got from it.
        rows_written, rows_quarantined: how many.
        rules: what became of each rule; empty for a repeat, which was judged before.
    """

    accepted: DataFrame
    rows_written: int
    rows_quarantined: int
    rules: tuple[RuleResult, ...] = ()


@dataclass(frozen=True)
class Landing:
    """How batches for one table are taken.

    Args:
        spark: the session.
        source: where the rows are from, for messages.
        table: declaration of the silver table.
        warehouse: where the tables are.
        rules: rules about the rows of a batch.
        key: columns by which a row that silver has already is told, and put aside by the rule ``new_key``; empty for none.
        newer_by: column by which a row may replace the one of its key: a greater value does, and any does where there was
            none. Of one key in a batch, a row with a value goes before one without.
        max_failed_share: share of a batch that may break a rule.
    """

    spark: SparkSession
    source: Source
    table: Table
    warehouse: Warehouse
    rules: Sequence[Expectation]
    key: Sequence[str] = ()
    newer_by: str | None = None
    max_failed_share: float = 0.05

    def take(self, batch: Batch, parse: Callable[[], Parsed] | None) -> Taken | None:
        """Append the batch to bronze, quarantine and silver; None when it holds no rows.

        Args:
            batch: which one.
            parse: gives its rows; asked when they have not landed. None when there are none, unless an earlier try found
                some.

        Raises:
            DataError: the gate refused the batch, and nothing was written; or rows do not fit the tables.
        """
        bronze, silver, quarantine = (self.warehouse.table(name) for name in pipeline.names(self.table))
        rules = [*self.rules, *self._new_key()]
        has_landed = batch.may_be_repeat and self._has_landed(batch)
        if parse is None and not has_landed:
            return None
        results = [] if has_landed or parse is None else self._land(parse(), rules, batch)
        if results is None:
            return None
        rows = read(self.spark, bronze).where(F.col(INGEST_ID) == batch.ingest_id)
        fine, bad = _counted(results) if results else _count(rows, rules)
        # What follows is made from bronze, which does not change, so a repeat writes the same rows.
        once: dict[str, Any] = {"app_id": batch.app_id, "version": batch.number, "digest": f"{fine}:{bad}"}
        if batch.may_be_repeat:
            create(self.spark, silver, self.table)
        if bad or (batch.may_be_repeat and not exists(self.spark, quarantine)):
            append_once(rejected(rows, rules, clock.utc_now()), quarantine, **once)
        accepted = rows.where(is_fine(rules)).select(*self.table.names)
        if fine and self.newer_by:
            merge_latest(
                accepted, silver, keys=self.key, order_by=self.newer_by
            )  # once by itself: a repeat is not newer
        elif fine:
            append_once(accepted, silver, **once)
        return Taken(accepted, fine, bad, tuple(results))

    def _land(self, found: Parsed, rules: Sequence[Expectation], batch: Batch) -> list[RuleResult] | None:
        """Bring the rows into bronze and through the gate; None when there are none, as on a day without events."""
        parsed = replace(found, rows=self._with_known(found))
        judged = pipeline.judge(parsed, self.table, rules, batch.ingest_id).persist()
        try:
            results = pipeline.check(judged, rules, self.table, self.source)
            suite.gate(results, f"{self.source.path} → {self.table.name}", max_failed_share=self.max_failed_share)
            bronze = self.warehouse.table(pipeline.names(self.table)[0])
            append_once(judged, bronze, app_id=batch.app_id, version=batch.number, digest=batch.ingest_id)
        except DataError as error:
            if error.code != "EMPTY_SOURCE":
                raise
            return None
        finally:
            judged.unpersist()
        return results

    def _has_landed(self, batch: Batch) -> bool:
        bronze = self.warehouse.table(pipeline.names(self.table)[0])
        if not exists(self.spark, bronze):
            return False
        return not read(self.spark, bronze).where(F.col(INGEST_ID) == batch.ingest_id).isEmpty()

    def _new_key(self) -> list[Expectation]:
        if not self.key:
            return []
        message = "must not be in the table already" + (f", unless {self.newer_by} is newer" if self.newer_by else "")
        return [satisfies("new_key", "+".join(self.key), F.col(_IS_KNOWN).isNull(), message)]

    def _with_known(self, found: Parsed) -> DataFrame:
        """Add a column that is true where silver has the key already, and one that orders the rows of a key."""
        rows, silver = found.rows, self.warehouse.table(self.table.name)
        is_open = F.col(self.newer_by).isNull() if self.newer_by else F.lit(False)
        ordered = rows.withColumn(_ORDER, F.struct(found.failures.isNotNull(), is_open.alias("open"), SOURCE_FILE, RAW))
        if not self.key or not exists(self.spark, silver):
            return ordered.withColumn(_IS_KNOWN, F.lit(None).cast("boolean"))
        # A key that a log holds twice must not double the row.
        there = F.max(self.newer_by) if self.newer_by else F.lit(None)
        keys = read(self.spark, silver).where(_between(rows, self.key)).groupBy(*self.key)
        known = keys.agg(there.alias(_VALUE), F.lit(True).alias(_IS_KNOWN))
        is_newer = F.lit(False)
        if self.newer_by:
            value = F.col(self.newer_by)
            is_newer = value.isNotNull() & (F.col(_VALUE).isNull() | (value > F.col(_VALUE)))
        joined = ordered.join(known, list(self.key), "left")
        return joined.withColumn(_IS_KNOWN, F.when(~is_newer, F.col(_IS_KNOWN))).drop(_VALUE)


def _counted(results: Sequence[RuleResult]) -> tuple[int, int]:
    """Return how many rows passed and how many did not, from what became of the rules."""
    rows, bad = results[0].checked, sum(result.failed for result in results if result.rule == suite.ANY_RULE)
    return rows - bad, bad


def _count(rows: DataFrame, rules: Sequence[Expectation]) -> tuple[int, int]:
    counts = {row["fine"]: row["count"] for row in rows.groupBy(is_fine(rules).alias("fine")).count().collect()}
    return counts.get(True, 0), counts.get(False, 0)


def first_of(*key: str) -> Expectation:
    """Expect no earlier row of the batch with the same key: the first that parsed passes, by file or offset.

    Of those in one file the one whose text is least: a file has no order once it is read in parts.
    """
    return unique(*key, keep_first_by=_ORDER)


def _between(rows: DataFrame, key: Sequence[str]) -> Column:
    """Return whether a key lies within those of ``rows``, as values, so that files of other keys are not opened."""
    bounds = rows.agg(*(end(name).alias(f"{end.__name__}_{name}") for name in key for end in (F.min, F.max))).collect()[
        0
    ]
    inside = [F.col(name).between(F.lit(bounds[f"min_{name}"]), F.lit(bounds[f"max_{name}"])) for name in key]
    return reduce(Column.__and__, inside)
