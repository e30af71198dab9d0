"""Splits by time, by group and by hash: which row is for training is a function of the row, not of a shuffle.

A hash split depends on key, seed and nothing else, so a customer stays where it is when rows are added.
"""

from collections.abc import Mapping, Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from shared.core.errors import ConfigError

SPLIT = "split"
_STEPS = 1_000_000


def by_hash(rows: DataFrame, key: str | Sequence[str], shares: Mapping[str, float], *, seed: int) -> DataFrame:
    """Add the column ``split``: each distinct key goes to one part, in proportion to ``shares``.

    Args:
        rows: any rows; keep a customer together by giving the customer as key.
        key: column or columns; null is a key like any other.
        shares: part → share; they sum to 1.
        seed: another seed gives another split.

    Raises:
        ConfigError: the shares do not sum to 1 or one is not positive.
    """
    if abs(sum(shares.values()) - 1.0) > 1e-9 or min(shares.values()) <= 0:
        raise ConfigError("SHARES_INVALID", f"Shares are {dict(shares)}.", "Positive, summing to 1.")
    place = F.pmod(_hash(key, seed), F.lit(_STEPS))
    split: Column | None = None
    reached = 0.0
    *firsts, last = shares
    for part in firsts:
        reached += shares[part]
        is_below = place < round(reached * _STEPS)
        split = F.when(is_below, part) if split is None else split.when(is_below, part)
    return rows.withColumn(SPLIT, F.lit(last) if split is None else split.otherwise(last))


def by_time(rows: DataFrame, time: str, cuts: Mapping[str, date], *, gap_days: int = 0) -> DataFrame:
    """Add the column ``split``: the part whose first day is the latest not after the row's time, or ``gap``.

    Args:
        rows: rows with a date or timestamp ``time``; null times give a null split.
        time: the column.
        cuts: part → first day, ascending; earlier rows belong to the first part.
        gap_days: rows less than so many days before the next part's first day are ``gap``, to be left out.

    Raises:
        ConfigError: the days do not ascend.
    """
    days = list(cuts.values())
    if days != sorted(set(days)):
        raise ConfigError("CUTS_INVALID", f"Cuts are {dict(cuts)}.", "Ascending days.")
    day = F.to_date(time)
    parts = list(cuts)
    split: Column = F.lit(parts[-1])
    for place in range(len(parts) - 2, -1, -1):
        following = F.lit(days[place + 1])
        inner = F.when(day >= F.date_sub(following, gap_days), "gap").otherwise(parts[place])
        split = F.when(day < following, inner).otherwise(split)
    return rows.withColumn(SPLIT, F.when(day.isNotNull(), split))


def folds(
    rows: DataFrame, key: str | Sequence[str], count: int, *, seed: int, stratify: str | None = None
) -> DataFrame:
    """Add the column ``fold``, 0 to ``count - 1``; all rows of a key share one.

    With ``stratify`` the folds of each class differ by at most one row; then every key must be one row. Without it the
    fold is a hash of the key.

    Raises:
        ConfigError: fewer than two folds.
    """
    if count < 2:
        raise ConfigError("FOLDS_INVALID", f"{count} folds.", "At least 2.")
    if stratify is None:
        return rows.withColumn("fold", F.pmod(_hash(key, seed), F.lit(count)).cast("int"))
    keys = [key] if isinstance(key, str) else list(key)
    in_class = Window.partitionBy(stratify).orderBy(_hash(key, seed), *keys)
    return rows.withColumn("fold", F.pmod(F.row_number().over(in_class) - 1, F.lit(count)).cast("int"))


def _hash(key: str | Sequence[str], seed: int) -> Column:
    return F.xxhash64(F.lit(seed), *([key] if isinstance(key, str) else key))
