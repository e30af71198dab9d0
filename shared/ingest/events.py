"""Events of several tables in one stream: JSON objects, each of which names its table in the field ``table``.

What is no JSON object, or names no known table, is put aside too; nothing that arrived is lost.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core import clock
from shared.core.columns import FAILURES, INGEST_ID, INGESTED_TS, RAW, SOURCE_FILE
from shared.core.parallel import in_parallel
from shared.delta.read import read
from shared.delta.tables import TableRef, exists
from shared.delta.write import append_once
from shared.ingest import json_lines
from shared.ingest.failures import Parsed, record_failure
from shared.ingest.landing import Batch, Landing, Taken
from shared.ingest.quarantine import NEW, STATUS
from shared.ingest.source import Source
from shared.ingest.text_lines import LINE

TABLE_FIELD: Final = "table"
_TABLE = "_table"

Landings = Mapping[str, Callable[[], Landing]]


def events_of(label: str) -> Source:
    """Return the source of events that come from ``label``, a folder or a topic."""
    return Source(format="json", path=label, ignore=(TABLE_FIELD,))


def land_events(
    spark: SparkSession, lines: DataFrame, batch: Batch, stages: Sequence[Landings], strays: TableRef
) -> tuple[dict[str, Taken], int]:
    """Take a batch of events into the tables they are for, each exactly once, and return what became of each table's.

    Args:
        spark: the session.
        lines: `_line` and `_source_file`; blank lines do not count.
        batch: which batch it is.
        stages: table's name in the events → how its rows are taken; those of one stage at once, and each stage after the
            one before, to whose tables it may refer.
        strays: quarantine of events that belong to no table.

    Returns:
        Per table that had events what became of them, and the number of strays; of a repeat the same as of the first
        try.
    """
    known = [name for stage in stages for name in stage]
    is_object = F.is_valid_utf8(LINE) & F.json_object_keys(LINE).isNotNull()
    named = F.when(is_object, F.get_json_object(LINE, f"$.{TABLE_FIELD}"))
    filled = lines.where(F.length(F.trim(F.coalesce(LINE, F.lit("null")))) > 0)
    events = filled.withColumn(_TABLE, F.when(named.isin(known), named)).persist()
    try:
        counts = {row[_TABLE]: row["count"] for row in events.groupBy(_TABLE).count().collect()}
        if None in counts:
            _put_aside(events.where(F.col(_TABLE).isNull()), batch, strays)
        taken: dict[str, Taken] = {}
        for stage in stages:
            # A repeat may find that its files were removed; what has landed of them is taken all the same.
            names = [name for name in stage if name in counts or batch.may_be_repeat]
            works = [partial(_take, stage[name], events if name in counts else None, name, batch) for name in names]
            done = in_parallel(spark, works)
            taken |= {name: each for name, each in zip(names, done, strict=True) if each is not None}
    finally:
        events.unpersist()
    # As for the tables, what was put aside before counts also when its file is gone.
    return taken, _aside(spark, batch, strays) if batch.may_be_repeat else counts.get(None, 0)


def _take(landing_of: Callable[[], Landing], events: DataFrame | None, name: str, batch: Batch) -> Taken | None:
    landing = landing_of()
    if events is None:
        return landing.take(batch, None)

    def parse() -> Parsed:
        own = events.where(F.col(_TABLE) == name).select(LINE, SOURCE_FILE)
        return json_lines.parsed(own, landing.source, landing.table, landing.table.names)

    return landing.take(batch, parse)


def _aside(spark: SparkSession, batch: Batch, strays: TableRef) -> int:
    return read(spark, strays).where(F.col(INGEST_ID) == batch.ingest_id).count() if exists(spark, strays) else 0


def _put_aside(events: DataFrame, batch: Batch, strays: TableRef) -> None:
    is_text = F.is_valid_utf8(LINE)
    rule = F.when(~is_text, "encoding").when(F.json_object_keys(LINE).isNull(), "json").otherwise("table")
    # Bytes that are no text would be refused by whoever reads the table; the place in the source finds them again.
    text = F.when(is_text, F.col(LINE)).otherwise(F.make_valid_utf8(LINE))
    aside = events.select(
        SOURCE_FILE,
        F.lit(batch.ingest_id).alias(INGEST_ID),
        F.lit(clock.utc_now()).alias(INGESTED_TS),
        text.alias(RAW),
        record_failure(F.coalesce(rule, F.lit("json")), text).alias(FAILURES),
        F.lit(NEW).alias(STATUS),
    )
    append_once(aside, strays, app_id=batch.app_id, version=batch.number, digest=batch.ingest_id)
