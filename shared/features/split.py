"""Splits by time, by group and by hash: which part a row belongs to is a function of the row, not of a shuffle.

A hash split depends on key, seed and nothing else, so a customer stays where it is when rows are added or moved.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from shared.core.errors import ConfigError
from shared.features.point_in_time import utc_day

SPLIT: Final = "split"
FOLD: Final = "fold"
GAP: Final = "gap"
_STEPS: Final = 1_000_000


def by_hash(rows: DataFrame, key: str | Sequence[str], shares: Mapping[str, float], *, seed: int) -> DataFrame:
    """Add the column ``split``: each distinct key goes to one part, in proportion to ``shares``.

    The shares hold for keys in expectation, to a millionth: of n keys, part of share s gets s·n ± sqrt(n·s·(1-s)).

    Args:
        rows: any rows; keep a customer together by giving the customer as key.
        key: column or columns, taken as text: the number 7 and the text '7' are one key. Null is a key like any other.
        shares: part → share; they sum to 1.
        seed: another seed gives another split.

    Raises:
        ConfigError: the shares do not sum to 1 or one is not positive.
    """
    if not shares or abs(sum(shares.values()) - 1.0) > 1e-9 or min(shares.values()) <= 0:
        raise ConfigError("SHARES_INVALID", f"Shares are {dict(shares)}.", "Positive, summing to 1.")
    place = F.pmod(_hash(key, seed), F.lit(_STEPS))
    *firsts, last = shares
    bounds = [round(sum(shares[part] for part in firsts[: count + 1]) * _STEPS) for count in range(len(firsts))]
    split = F.lit(last)
    for part, bound in reversed(list(zip(firsts, bounds, strict=True))):
        split = F.when(place < bound, part).otherwise(split)
    return rows.withColumn(SPLIT, split)


def by_group(rows: DataFrame, group: str | Sequence[str], shares: Mapping[str, float], *, seed: int) -> DataFrame:
    """Add the column ``split`` with all rows of a group in one part: `by_hash` of the group."""
    return by_hash(rows, group, shares, seed=seed)


def by_time(
    rows: DataFrame, time: str, cuts: Mapping[str, date], *, gap_days: int = 0, first: str = "train"
) -> DataFrame:
    """Add the column ``split``: rows before the first cut are ``first``, later rows the part begun last.

    Args:
        rows: rows with a date or timestamp ``time``, of which the UTC day counts; null times give a null split.
        time: the column.
        cuts: part → its first day, ascending, e.g. ``{"validation": …, "test": …}``.
        gap_days: the so many days before each cut are ``gap``, to be left out; take gap plus outcome window, so that no
            earlier row learns from an outcome inside a later part.
        first: the part before all cuts.

    Raises:
        ConfigError: no cut, days that do not ascend, a part named twice, or a negative gap.
        DataError: ``time`` is neither date nor timestamp.
    """
    days = list(cuts.values())
    if not days or days != sorted(set(days)) or first in cuts or GAP in cuts:
        raise ConfigError("CUTS_INVALID", f"Cuts are {dict(cuts)} after '{first}'.", "Ascending days of other parts.")
    if gap_days < 0:
        raise ConfigError("CUTS_INVALID", f"A gap of {gap_days} days.", "0 or more.")
    day = utc_day(rows, time)
    split: Column = F.lit(first)
    for part, start in cuts.items():
        cut = F.unix_date(F.lit(start))
        split = F.when(day >= cut, part).when(day >= cut - gap_days, GAP).otherwise(split)
    return rows.withColumn(SPLIT, F.when(day.isNotNull(), split))


def folds(
    rows: DataFrame, key: str | Sequence[str], count: int, *, seed: int, stratify: str | None = None
) -> DataFrame:
    """Add the column ``fold``, 0 to ``count - 1``; all rows of a key share one.

    With ``stratify`` the folds of each class differ by at most one key, exactly; one task sorts all keys of a class.
    Without it the fold is a hash of the key, and the folds are equal in expectation only.

    Args:
        rows: any rows.
        key: what must not be torn apart, as in `by_hash`.
        count: number of folds.
        seed: another seed gives other folds, for repeated cross-validation.
        stratify: column with the class; a key whose rows differ belongs to its greatest class. Null is a class.

    Raises:
        ConfigError: fewer than two folds.
    """
    if count < 2:
        raise ConfigError("FOLDS_INVALID", f"{count} folds.", "At least 2.")
    if stratify is None:
        return rows.withColumn(FOLD, F.pmod(_hash(key, seed), F.lit(count)).cast("int"))
    keys = _columns(key)
    class_of_key = F.max(stratify).over(Window.partitionBy(*keys))
    in_class = Window.partitionBy("_class").orderBy(_hash(key, seed), *keys)
    place = F.dense_rank().over(in_class) - 1
    return rows.withColumn("_class", class_of_key).withColumn(FOLD, F.pmod(place, F.lit(count))).drop("_class")


def _columns(key: str | Sequence[str]) -> list[str]:
    return [key] if isinstance(key, str) else list(key)


def _hash(key: str | Sequence[str], seed: int) -> Column:
    # As text: an id read as int from one file and as bigint from another must stay in its part.
    return F.xxhash64(F.lit(seed), *(F.col(name).cast("string") for name in _columns(key)))
