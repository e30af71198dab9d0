"""What a table was made from, noted in its commit, so that the same is not made again.

Code, settings and input all count. Only the newest commit is looked at: whatever was done to a table since, it is made anew.
"""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shared.core.code import code_digest
from shared.core.errors import DataError
from shared.core.parallel import in_parallel
from shared.delta.read import history, latest_version
from shared.delta.tables import TableRef, exists

_KEY = "made_from"


def fingerprint(vertical: str, facts: Mapping[str, object]) -> str:
    """Return a digest of ``facts`` and of the code of the package ``vertical`` and of this one.

    Args:
        vertical: the package whose step makes the table.
        facts: all that decides what the step makes, as JSON can hold it: settings, versions or digests of what it reads.
    """
    code = code_digest("shared", vertical)
    return sha256(json.dumps([code, dict(facts)], sort_keys=True, default=str).encode()).hexdigest()


def note(made_from: str | None, **facts: object) -> dict[str, object]:
    """Return the note for `shared.delta.write.overwrite` that `noted` finds; None can never be found."""
    return {_KEY: made_from, **facts} if made_from else {}


def noted(spark: SparkSession, ref: TableRef, made_from: str | None) -> Mapping[str, Any] | None:
    """Return the note of the newest commit when it says ``made_from``; None otherwise, as without a table."""
    if made_from is None or not exists(spark, ref):
        return None
    is_it = F.get_json_object("userMetadata", f"$.{_KEY}") == made_from
    commit = history(spark, ref, limit=1).where(is_it).first()
    return None if commit is None else dict(json.loads(commit["userMetadata"]))


def are_newest(spark: SparkSession, tables: Iterable[tuple[TableRef, int]]) -> bool:
    """Tell whether each table is there, at that version."""

    def is_newest(ref: TableRef, version: int) -> bool:
        try:
            return latest_version(spark, ref) == version
        except DataError:
            return False

    return all(in_parallel(spark, [partial(is_newest, *each) for each in tables]))
