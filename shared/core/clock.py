"""Time in UTC, from one place, so that a test or a backfill can set it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

_FIXED: list[datetime] = []


def utc_now() -> datetime:
    """Return the current time as an aware UTC datetime; the frozen time inside `frozen`."""
    return _FIXED[-1] if _FIXED else datetime.now(UTC)


@contextmanager
def frozen(moment: datetime) -> Iterator[None]:
    """Make `utc_now` return ``moment`` (aware) inside the block."""
    _FIXED.append(moment.astimezone(UTC))
    try:
        yield
    finally:
        _FIXED.pop()


def new_run_id() -> str:
    """Return a sortable id: UTC time to the second and six random hex digits."""
    return utc_now().strftime("%Y%m%dT%H%M%SZ") + "-" + os.urandom(3).hex()
