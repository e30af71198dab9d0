"""What a table was made from, noted in its commit, so that the same is not made again.

Code, settings and input all count, and so does whatever was done since to the table, or to those that the note names.
"""

import json
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import Any

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from shared.core.code import code_digest
from shared.core.errors import AcceleratorError
from shared.core.parallel import in_parallel
from shared.delta.read import history
from shared.delta.tables import TableRef

_KEY = "made_from"
_TABLES = "tables"


def fingerprint(spark: SparkSession, vertical: str, *facts: object) -> str:
    """Return a digest of ``facts``, the code of ``vertical`` and of this package, Spark's version and the time zone.

    Args:
        spark: the session; its time zone counts where text has none.
        vertical: the package whose step makes the table.
        facts: all else that decides what the step makes, as JSON: settings in their order, digests of files.
    """
    here = [code_digest("shared", vertical), spark.version, spark.conf.get("spark.sql.session.timeZone")]
    return sha256(json.dumps([here, facts]).encode()).hexdigest()


def note(made_from: str | None, tables: Mapping[str, object], **facts: object) -> dict[str, object]:
    """Return the note for `shared.delta.write.overwrite` that `noted` finds; with None there is nothing to find.

    Args:
        made_from: the fingerprint.
        tables: tables of the same warehouse, with the versions that were read or made.
        facts: what else to keep, as JSON.
    """
    return {_KEY: made_from, _TABLES: dict(tables), **facts} if made_from else {}


def noted(spark: SparkSession, ref: TableRef, made_from: str | None) -> Mapping[str, Any] | None:
    """Return the note of the table's newest commit, if it says ``made_from`` and its tables are as they were then.

    They are when each has the noted version as its newest, and that is no younger than the note: a table that was removed
    and made again counts its versions from 0.
    """
    commit = _newest(spark, ref)
    if made_from is None or commit is None:
        return None
    found: dict[str, Any] = json.loads(commit["note"] or "{}")
    if found.get(_KEY) != made_from:
        return None
    tables: Mapping[str, int] = found[_TABLES]
    there = in_parallel(spark, [partial(_newest, spark, ref.beside(name)) for name in tables])
    as_they_were = (
        row is not None and row["version"] == version and row["timestamp"] <= commit["timestamp"]
        for row, version in zip(there, tables.values(), strict=True)
    )
    return found if all(as_they_were) else None


def _newest(spark: SparkSession, ref: TableRef) -> Row | None:
    """Return version, time and note of the newest commit; None when the table cannot be read, which others will say."""
    is_ours = F.get_json_object("userMetadata", f"$.{_KEY}").isNotNull()
    note_text = F.when(is_ours, F.col("userMetadata")).alias("note")
    try:
        return history(spark, ref, limit=1).select("version", "timestamp", note_text).first()
    except AcceleratorError:
        return None
