"""A folder read incrementally: what is new since the last time goes through the same reader, rules and gate.

The stream carries the names of the files, not their rows, so a batch is read exactly as `pipeline.land` reads a
source. Each file is taken once per checkpoint, however old it is: without the checkpoint every file is new again. A file
must appear whole: write it elsewhere and move it into the folder.
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core import clock
from shared.core.columns import INGEST_ID, INGESTED_TS, Table
from shared.core.errors import AcceleratorError, ConfigError, DataError
from shared.delta.digest import digest
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse, create, exists
from shared.delta.write import append_once
from shared.ingest import pipeline, readers
from shared.ingest.pipeline import IngestResult
from shared.ingest.problems import explained
from shared.ingest.quarantine import is_fine, rejected
from shared.ingest.source import Source
from shared.ingest.text_lines import escaped
from shared.quality import suite
from shared.quality.expectations import Expectation, satisfies
from shared.quality.suite import RuleResult

_IS_KNOWN = "_is_known"
_LISTING = "path string, modificationTime timestamp, length long, content binary"
# Spark forgets files, and skips new ones, that are a week older than the newest it has seen: a copied archive is.
_EVER = "36500d"


def ingest_new_files(
    spark: SparkSession,
    source: Source,
    table: Table,
    warehouse: Warehouse,
    *,
    checkpoint: str,
    expectations: Sequence[Expectation] = (),
    max_failed_share: float = 0.05,
    files_per_batch: int = 1000,
) -> IngestResult:
    """Append what the new files in the folder ``source.path`` hold to bronze, silver and quarantine, and return.

    A run that was killed anywhere is continued by the next one without losing or doubling a row. A row whose key silver
    has already is put aside by the rule ``new_key``. Files that hold names and no rows are taken and change nothing. When
    the gate refuses a batch, the batches before it stay; mend its file, or remove it, and run again.

    Args:
        spark: the session; not Spark Connect, since the batches run in this process.
        source: a folder of files; not ``jdbc`` or ``delta``.
        table: declaration of the silver table.
        warehouse: where the tables are.
        checkpoint: folder or URI that remembers which files were taken; one for each table.
        expectations: further rules about rows.
        max_failed_share: share of the rows of a batch that may break a rule.
        files_per_batch: files taken together.

    Returns:
        The sums over the batches of this run; no rows when nothing is new.

    Raises:
        ConfigError: the source is no folder of files.
        DataError: a file is broken, or the gate refused a batch.
    """
    if source.format in {"jdbc", "delta"}:
        found = f"A {source.format} source cannot be read as a folder of new files."
        raise ConfigError("SOURCE_INVALID", found, "csv, words, json or parquet.", "Use land.")
    batches = _Batches(spark, source, table, warehouse, expectations, max_failed_share)
    listing = spark.readStream.format("binaryFile").schema(_LISTING).option("recursiveFileLookup", "true")
    # A file that made a batch fail may be removed; the rest of its batch is then taken.
    listing = listing.option("ignoreMissingFiles", "true").option("maxFilesPerTrigger", files_per_batch)
    listing = listing.option("maxFileAge", _EVER)
    with explained(source.path):
        files = listing.load(source.path).select("path")
        writer = files.writeStream.foreachBatch(batches.take).queryName(batches.name)
        query = writer.option("checkpointLocation", checkpoint).trigger(availableNow=True).start()
        try:
            query.awaitTermination()
        except StreamingQueryException:
            if batches.problem is not None:
                raise batches.problem from None
            raise
    return batches.result()


class _Batches:
    """Takes the batches of one query; holds counts and the error, never rows."""

    def __init__(
        self,
        spark: SparkSession,
        source: Source,
        table: Table,
        warehouse: Warehouse,
        expectations: Sequence[Expectation],
        max_failed_share: float,
    ) -> None:
        self.spark, self.source, self.table, self.max_failed_share = spark, source, table, max_failed_share
        self.bronze, self.silver, self.quarantine = (warehouse.table(name) for name in pipeline.names(table))
        self.expectations = expectations
        self.name = f"ingest_{table.name}_{uuid.uuid4().hex}"
        self.problem: AcceleratorError | None = None
        self.counts = [0, 0, 0]
        self.rules: dict[tuple[str, str], RuleResult] = {}

    def take(self, listing: DataFrame, batch_id: int) -> None:
        try:
            with explained(self.source.path):
                files = [escaped(row["path"]) for row in listing.select("path").orderBy("path").collect()]
                if files:
                    self._take(files, batch_id)
        except AcceleratorError as problem:
            self.problem = problem
            raise

    def _take(self, files: list[str], batch_id: int) -> None:
        app_id = next(query.id for query in self.spark.streams.active if query.name == self.name)
        ingest_id = f"{app_id}:{batch_id}"
        rules = [*pipeline.declared(self.table), *self.expectations, *self._new_key()]
        if not self._has_landed(ingest_id) and not self._land(files, rules, ingest_id, str(app_id), batch_id):
            return
        # Judged once, when it landed: a repeat after a failure takes bronze's word, not today's state of silver.
        rows = read(self.spark, self.bronze).where(F.col(INGEST_ID) == ingest_id)
        aside = rejected(rows, rules, clock.utc_now())
        content = digest(aside.drop(INGESTED_TS))
        append_once(aside, self.quarantine, app_id=str(app_id), version=batch_id, digest=content)
        create(self.spark, self.silver, self.table)
        kept = rows.where(is_fine(rules)).select(*self.table.names)
        append_once(kept, self.silver, app_id=str(app_id), version=batch_id)
        counted = rows.groupBy(is_fine(rules).alias("fine")).count().collect()
        counts = {row["fine"]: row["count"] for row in counted}
        fine, bad = counts.get(True, 0), counts.get(False, 0)
        self.counts = [old + new for old, new in zip(self.counts, (fine + bad, fine, bad), strict=True)]

    def _land(self, files: list[str], rules: Sequence[Expectation], ingest_id: str, app_id: str, batch_id: int) -> bool:
        """Bring the files into bronze and through the gate; False when they hold no rows, as on a day without events."""
        found = readers.read(self.spark, self.source, self.table, files)
        parsed = replace(found, rows=self._with_known(found.rows))
        judged = pipeline.judge(parsed, self.table, rules, ingest_id).persist()
        try:
            results = pipeline.check(judged, rules, self.table, self.source)
            suite.gate(results, f"{self.source.path} → {self.table.name}", max_failed_share=self.max_failed_share)
            append_once(judged, self.bronze, app_id=app_id, version=batch_id)
        except DataError as error:
            if error.code != "EMPTY_SOURCE":
                raise
            return False
        finally:
            judged.unpersist()
        for result in results:
            self._add(result)
        return True

    def _has_landed(self, ingest_id: str) -> bool:
        if not exists(self.spark, self.bronze):
            return False
        bronze = read(self.spark, self.bronze)
        return not bronze.where(F.col(INGEST_ID) == ingest_id).isEmpty()

    def _new_key(self) -> list[Expectation]:
        if not self.table.key:
            return []
        message = "must not be in the table already"
        return [satisfies("new_key", "+".join(self.table.key), F.col(_IS_KNOWN).isNull(), message)]

    def _with_known(self, rows: DataFrame) -> DataFrame:
        """Add a column that is true where silver has the key already."""
        if not self.table.key or not exists(self.spark, self.silver):
            return rows.withColumn(_IS_KNOWN, F.lit(None).cast("boolean"))
        keys = read(self.spark, self.silver).select(*self.table.key).distinct()
        return rows.join(keys.withColumn(_IS_KNOWN, F.lit(True)), list(self.table.key), "left")

    def _add(self, result: RuleResult) -> None:
        key = (result.rule, result.column)
        old = self.rules.get(key)
        if old is None:
            self.rules[key] = result
            return
        examples = (old.examples + result.examples)[: suite.EXAMPLES]
        checked, failed = old.checked + result.checked, old.failed + result.failed
        self.rules[key] = replace(result, checked=checked, failed=failed, examples=examples)

    def result(self) -> IngestResult:
        """Return the sums over the batches."""
        refs = [ref for ref in (self.bronze, self.silver, self.quarantine) if exists(self.spark, ref)]
        tables = {ref.label: {"path": ref.path or ref.name, "version": latest_version(self.spark, ref)} for ref in refs}
        rules = tuple(self.rules.values())
        read_count, written, aside = self.counts
        return pipeline.accounted(IngestResult(self.table.name, read_count, written, aside, rules, tables))
