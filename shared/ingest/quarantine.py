"""Rows that were put aside: their text, where they came from and every reason, so that they can be mended.

Text of people's data goes there as it came: the table deserves the same protection as the source.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from shared.core.columns import FAILURES, INGEST_ID, INGESTED_TS, RAW, SOURCE_FILE
from shared.quality import suite
from shared.quality.expectations import FAILURE_TYPE, Expectation

STATUS: Final = "_status"
NEW: Final = "new"


def rejected(landed: DataFrame, rules: Sequence[Expectation], now: datetime) -> DataFrame:
    """Return the quarantine rows of the bronze rows that broke a rule or did not parse.

    Args:
        landed: rows of a bronze table, with `_broken` of ``rules``.
        rules: the rules of `suite.with_broken`.
        now: time of the ingestion, aware.

    Returns:
        `_source_file`, `_ingest_id`, `_ingested_ts`, `_raw`, `_failures` (what parsing found, then what the rules
        found) and `_status`, which is ``new`` until someone has looked at the row.
    """
    parsing = F.coalesce(FAILURES, F.array().cast(FAILURE_TYPE))
    return landed.where(~is_fine(rules)).select(
        SOURCE_FILE,
        INGEST_ID,
        F.lit(now).alias(INGESTED_TS),
        RAW,
        F.concat(parsing, suite.failures(rules, landed.columns)).alias(FAILURES),
        F.lit(NEW).alias(STATUS),
    )


def is_fine(rules: Sequence[Expectation]) -> Column:
    """Tell whether a bronze row parsed and broke no rule of severity ``error``."""
    return F.col(FAILURES).isNull() & suite.is_accepted(rules)
