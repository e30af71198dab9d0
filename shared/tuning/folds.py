"""Folds of training rows, by time or by group: in no fold does the future, or the group of a held-out row, teach.

Only training rows go in; validation and test rows of the split are never in a fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from shared.core.errors import DataError
from shared.features import split

LEAST: Final = 2


@dataclass(frozen=True)
class Fold:
    """Rows to fit on, and rows to judge by.

    Args:
        name: which rows are held out, for people.
        train, held_out: the rows.
    """

    name: str
    train: DataFrame
    held_out: DataFrame


def by_group(rows: DataFrame, group: str | Sequence[str], count: int, *, seed: int) -> list[Fold]:
    """Return ``count`` folds by a hash of ``group``: each row is held out once, all rows of a group in one fold.

    Args:
        rows: training rows.
        group: column or columns, as in `shared.features.split.by_hash`; null is a group.
        count: at least 2.
        seed: another seed gives other folds.

    Raises:
        ConfigError: fewer than two folds.
    """
    drawn = split.folds(rows, group, count, seed=seed)
    is_held_out = [F.col(split.FOLD) == number for number in range(count)]
    return [
        Fold(f"part {number + 1} of {count}", drawn.where(~own).drop(split.FOLD), drawn.where(own).drop(split.FOLD))
        for number, own in enumerate(is_held_out)
    ]


def by_time(rows: DataFrame, day: str, known: str, count: int) -> list[Fold]:
    """Return at most ``count`` folds that go forward: each fits on what was known when its held-out days begin.

    The held-out days are the last ones, in blocks of equal length, oldest first. A row whose outcome is not known on the
    first held-out day is in neither part, so no outcome window that is learned from reaches into one that judges.

    Args:
        rows: training rows.
        day: date of the prediction; some tens of days, as snapshots are. Rows without one are in no fold.
        known: date on which the outcome is known, i.e. the first day after it; rows without one are not fitted on.
        count: at least 2.

    Raises:
        DataError: FOLDS_TOO_FEW: the days allow fewer than two folds.
    """
    first_known = rows.agg(F.min(known)).collect()[0][0]
    days = sorted(row[0] for row in rows.where(F.col(day).isNotNull()).select(day).distinct().collect())
    blocks = blocks_forward(days, first_known, count)
    if len(blocks) < LEAST:
        raise DataError(
            "FOLDS_TOO_FEW",
            f"{len(days)} days of training rows, with outcomes known from {first_known}, give {len(blocks)} folds.",
            f"At least {LEAST}.",
            "Take more snapshots, split by customer, or leave tuning.max_trials at 0.",
        )
    on, outcome_known = F.col(day), F.col(known)
    return [
        Fold(
            str(block[0]) if len(block) == 1 else f"{block[0]} to {block[-1]}",
            rows.where(on.isNotNull() & (outcome_known <= F.lit(block[0]))),
            rows.where(on.between(F.lit(block[0]), F.lit(block[-1]))),
        )
        for block in blocks
    ]


def blocks_forward(days: Sequence[date], first_known: date | None, count: int) -> list[Sequence[date]]:
    """Return the held-out days of each fold, oldest first; those before which nothing is known are left out.

    >>> days = [date(2024, month, 1) for month in range(1, 8)]
    >>> [len(block) for block in blocks_forward(days, date(2024, 3, 1), 2)]
    [2, 2]
    >>> blocks_forward(days, date(2024, 6, 1), 4)
    [[datetime.date(2024, 6, 1)], [datetime.date(2024, 7, 1)]]
    """
    size = max(len(days) // (count + 1), 1)
    starts = range(len(days) - size, -1, -size)
    blocks = [days[start : start + size] for start in starts][:count]
    return [block for block in reversed(blocks) if first_known is not None and block[0] >= first_known]
