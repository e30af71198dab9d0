"""A folder read incrementally: what is new since the last time goes through the same reader, rules and gate.

The stream carries the names of the files, not their rows, so a batch is read exactly as `pipeline.land` reads a
source. Each file is taken once per checkpoint, however old it is: without the checkpoint every file is new again. A file
must appear whole: write it elsewhere and move it into the folder.
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession

from shared.core.columns import Table
from shared.core.errors import AcceleratorError, ConfigError
from shared.delta.read import latest_version
from shared.delta.tables import Warehouse, exists
from shared.ingest import pipeline, readers
from shared.ingest.landing import Batch, Landing
from shared.ingest.pipeline import IngestResult
from shared.ingest.problems import explained
from shared.ingest.source import Source
from shared.ingest.text_lines import escaped
from shared.quality import suite
from shared.quality.expectations import Expectation
from shared.quality.suite import RuleResult

_LISTING = "path string, modificationTime timestamp, length long, content binary"
# Spark forgets files, and skips new ones, that are a week older than the newest it has seen: a copied archive is.
EVER: Final = "36500d"


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
    listing = listing.option("maxFileAge", EVER)
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
        self.spark, self.source, self.table, self.warehouse = spark, source, table, warehouse
        rules = (*pipeline.declared(table), *expectations)
        self.landing = Landing(spark, source, table, warehouse, rules, table.key, max_failed_share=max_failed_share)
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
        batch = Batch(query_id(self.spark, self.name), batch_id)
        taken = self.landing.take(batch, lambda: readers.read(self.spark, self.source, self.table, files))
        if taken is None:
            return
        new = (taken.rows_written + taken.rows_quarantined, taken.rows_written, taken.rows_quarantined)
        self.counts = [old + more for old, more in zip(self.counts, new, strict=True)]
        for result in taken.rules:
            self._add(result)

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
        there = (self.warehouse.table(name) for name in pipeline.names(self.table))
        refs = [ref for ref in there if exists(self.spark, ref)]
        tables = {ref.label: {"path": ref.path or ref.name, "version": latest_version(self.spark, ref)} for ref in refs}
        rules = tuple(self.rules.values())
        read_count, written, aside = self.counts
        return pipeline.accounted(IngestResult(self.table.name, read_count, written, aside, rules, tables))


def query_id(spark: SparkSession, name: str) -> str:
    """Return the id of the running query called ``name``, which its checkpoint keeps."""
    return str(next(query.id for query in spark.streams.active if query.name == name))
