"""What Delta's errors mean to the user, and which of them are worth another try.

On a classic session some of Delta's errors arrive as plain Java errors that pyspark does not translate, so they are
told apart by the code in their text; the values of the row that failed are left out, since they may be personal.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Protocol, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from shared.core.errors import AcceleratorError, ConfigError, DataError, EnvironmentProblem

FAILURES = (PySparkException, Py4JJavaError)
_TRIES = 6
_FIRST_WAIT_SECONDS = 0.2
_CONFLICT = re.compile(r"\[DELTA_(CONCURRENT_\w+|METADATA_CHANGED|PROTOCOL_CHANGED)")
_CHECK = re.compile(r"CHECK constraint (\S+) \((.*)\) violated by row")
_NOT_NULL = re.compile(r"NOT NULL constraint violated for column: (\S+?)\.?\s")
_OTHER_TYPE = re.compile(r"DELTA_FAILED_TO_MERGE_FIELDS\S* Failed to merge fields '([^']+)'")

T = TypeVar("T")


class _Named(Protocol):
    @property
    def label(self) -> str: ...

    @property
    def location(self) -> str: ...


def retried(ref: _Named, write: Callable[[], T]) -> T:
    """Run ``write`` again while another writer's commit is in its way, waiting longer each time.

    Raises:
        EnvironmentProblem: other writers were in the way each time.
    """
    for tried in count(1):
        try:
            return write()
        except FAILURES as error:
            if not _CONFLICT.search(str(error)):
                raise
            if tried == _TRIES:
                raise EnvironmentProblem(
                    "WRITE_CONFLICT",
                    f"Other writers changed {ref.label} during each of {_TRIES} tries to write it.",
                    "At most a few writers of one table at a time.",
                    "Run it again when they are done; nothing was written.",
                ) from error
            time.sleep(random.uniform(0.5, 1) * _FIRST_WAIT_SECONDS * 2**tried)
    raise RuntimeError("count() does not end")


@contextmanager
def explained(ref: _Named) -> Iterator[None]:
    """Turn the errors of a write to ``ref`` that its user can act on into this product's own.

    Raises:
        DataError: the rows break a constraint, or have another shape than the table.
        ConfigError: the catalog has no such schema.
        EnvironmentProblem: the table's folder cannot be written, or its disk is full.
    """
    try:
        yield
    except FAILURES as error:
        # What the file system said is among the causes.
        causes = f"{error} {getattr(error, '_stackTrace', '')}"
        problem = _of_storage(ref, causes) or _problem(ref, str(error))
        if problem is None:
            raise
        raise problem from error


def _of_storage(ref: _Named, text: str) -> AcceleratorError | None:
    if "No space left on device" in text:
        found = f"No space is left for {ref.location}."
        return EnvironmentProblem(
            "DISK_FULL", found, "", "Free some or use another --warehouse; the table is as it was."
        )
    is_refused = ref.location in text and re.search(r"Permission denied|AccessControlException|Mkdirs failed", text)
    if is_refused or "DELTA_CANNOT_CREATE_LOG_PATH" in text:
        return EnvironmentProblem(
            "WAREHOUSE_NOT_WRITABLE",
            f"Cannot write to {ref.location}.",
            "A folder this user may write to.",
            "Choose another with --warehouse, or change its permissions.",
        )
    return None


def _problem(ref: _Named, text: str) -> AcceleratorError | None:
    broken = _CHECK.search(text) or _NOT_NULL.search(text)
    if broken:
        rule = " ".join(["CHECK", *broken.groups()]) if broken.re is _CHECK else f"NOT NULL {broken[1]}"
        return DataError(
            "CONSTRAINT_BROKEN",
            f"{ref.label} refuses a row that breaks {rule}.",
            "Rows that keep the table's declaration; none was written.",
            "Send such rows to quarantine before the write.",
        )
    if "DELTA_REPLACE_WHERE_MISMATCH" in text:
        return DataError(
            "PARTITION_MISMATCH",
            f"Rows that are to replace a partition of {ref.label} lie outside it.",
            "Rows of that partition only.",
            "Filter them before the write.",
        )
    if "DELTA_NEW_CHECK_CONSTRAINT_VIOLATION" in text:
        return DataError(
            "CONSTRAINT_BROKEN",
            f"{ref.label} holds rows that break a check it is now declared with.",
            "A check that the table's rows keep.",
            "Correct the rows or the declaration.",
        )
    other_type = _OTHER_TYPE.search(text)
    if other_type:
        return DataError(
            "SCHEMA_MISMATCH",
            f"Column '{other_type[1]}' has another type in {ref.label} than in the rows.",
            "The table's type.",
            "Cast it before the write.",
        )
    if "[SCHEMA_NOT_FOUND]" in text:
        return ConfigError(
            "WAREHOUSE_INVALID", f"There is no schema for {ref.location}.", "An existing one.", "CREATE SCHEMA first."
        )
    return None
