"""Comparing arms of an experiment: intervals of a difference, a check of the split, and the size needed beforehand.

Plain arithmetic on counts, means and variances. An arm that has other customers than the split says is no comparison:
look at `sample_ratio_p_value` before anything else.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from pydantic import Field, field_validator

from shared.core.config import Settings
from shared.core.errors import ConfigError

_ROUNDING: Final = 1e-9
MISMATCH: Final = 0.001
"""A split as far from the shares as this chance says is taken for broken (Fabijan et al. 2019)."""


class AbConfig(Settings):
    """An experiment that compares models on customers.

    Args:
        split: share of the customers that each alias scores, e.g. ``champion=0.9,challenger=0.1``, in any order; empty: no
            experiment. A changed share holds for customers who come in from then on.
        experiment: its name; another name draws other customers, and takes the versions that the aliases have then.
        level: of the intervals.
        effect: smallest difference of the rates that matters, for the size needed.
        power: chance to find such a difference when it is there.
    """

    split: Mapping[str, float] = {}
    experiment: str = Field("default", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    level: float = Field(0.95, gt=0.5, lt=1.0)
    effect: float | None = Field(None, gt=0.0, lt=1.0)
    power: float = Field(0.8, gt=0.0, lt=1.0)

    @field_validator("split", mode="before")
    @classmethod
    def _parsed(cls, split: object) -> object:
        if not isinstance(split, str):
            return split
        pairs = [part.partition("=") for part in split.split(",") if part.strip()]
        return {name.strip(): share.strip() for name, _, share in pairs}

    @field_validator("split")
    @classmethod
    def _shares(cls, split: Mapping[str, float]) -> Mapping[str, float]:
        is_whole = math.isclose(sum(split.values()), 1, abs_tol=1e-9)
        if split and (len(split) < 2 or not is_whole or any(not 0 < share < 1 for share in split.values())):
            raise ValueError("ab.split names at least two aliases with shares above 0 that sum to 1")
        return split


@dataclass(frozen=True)
class Difference:
    """A difference, second minus first, with its interval."""

    value: float
    low: float
    high: float


def rates(first: tuple[int, int], second: tuple[int, int], level: float = 0.95) -> Difference:
    """Return the difference of two rates with Newcombe's hybrid score interval (1998, Statistics in Medicine 17:873, method 10).

    It stays within [-1, 1], and is right also for few rows and rates of 0 or 1.

    Args:
        first, second: (number with the outcome, number of rows), at least one row.
        level: of the interval.

    >>> found = rates((48, 80), (56, 70))  # Newcombe, example (a): 0.0524 to 0.3339
    >>> [round(bound, 4) for bound in (found.value, found.low, found.high)]
    [0.2, 0.0524, 0.3339]
    """
    p, q = (hits / rows for hits, rows in (first, second))
    (low_p, high_p), (low_q, high_q) = (_wilson(*counts, level) for counts in (first, second))
    value = q - p
    return Difference(value, value - math.hypot(q - low_q, high_p - p), value + math.hypot(high_q - q, p - low_p))


def means(first: tuple[float, float, int], second: tuple[float, float, int], level: float = 0.95) -> Difference:
    """Return the difference of two means with Welch's interval (1947), for rows of unequal spread.

    Args:
        first, second: (mean, sample variance, number of rows), at least two rows each.
        level: of the interval.
    """
    (mean_p, *_), (mean_q, *_) = first, second
    shares = [variance / rows for _, variance, rows in (first, second)]
    value, error = mean_q - mean_p, math.sqrt(sum(shares))
    if not error:
        return Difference(value, value, value)
    freedom = sum(shares) ** 2 / sum(
        share**2 / (rows - 1) for share, (_, _, rows) in zip(shares, (first, second), strict=True)
    )
    half = t_quantile((1 + level) / 2, freedom) * error
    return Difference(value, value - half, value + half)


def t_quantile(share: float, freedom: float) -> float:
    """Return a quantile of Student's t (Abramowitz & Stegun 26.7.5), within 0.0003 from ten degrees of freedom on.

    >>> round(t_quantile(0.975, 10), 3), round(t_quantile(0.975, 30), 3)
    (2.228, 2.042)
    """
    z = NormalDist().inv_cdf(share)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))


def sample_ratio_p_value(counts: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """Return how likely counts as far from the shares are when the split works (Pearson's chi-square).

    Args:
        counts: customers by arm.
        shares: what the split says, by arm.

    Raises:
        ConfigError: an arm has no share, or there is nobody.
    """
    total = sum(counts.values())
    if not total or counts.keys() - shares.keys():
        raise ConfigError(
            "SPLIT_INVALID", f"Arms {dict(counts)} do not fit the shares {dict(shares)}.", "A share each."
        )
    expected = {arm: share * total for arm, share in shares.items()}
    distance = sum((counts.get(arm, 0) - e) ** 2 / e for arm, e in expected.items())
    return chi_square_tail(distance, len(shares) - 1)


def shares_of_all(scorings: Sequence[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Return the share of all customers that each arm was to get, when the split changed between scorings.

    A scoring of few knows only the arms that these came into. What it lacks is taken from another whose shares agree with
    its own; what no scoring knows is the share of arms that nobody came into, and stands under the name ``""``.

    Args:
        scorings: for each the customers that came in, and the shares of the arms it knows.

    >>> shares_of_all([(1000, {"champion": 0.75, "challenger": 0.25}), (1000, {"champion": 0.5, "challenger": 0.5})])
    {'champion': 0.625, 'challenger': 0.375}
    >>> shares_of_all([(30, {"champion": 0.75}), (10, {"challenger": 0.25})])
    {'champion': 0.75, 'challenger': 0.25}
    >>> shares_of_all([(1000, {"champion": 0.75})])
    {'champion': 0.75, '': 0.25}
    """
    splits: list[tuple[int, dict[str, float]]] = []
    for customers, known in sorted(scorings, key=lambda scoring: -len(scoring[1])):
        for place, (before, split) in enumerate(splits):
            both = {**split, **known}
            if (
                all(split.get(arm, share) == share for arm, share in known.items())
                and sum(both.values()) < 1 + _ROUNDING
            ):
                splits[place] = (before + customers, both)
                break
        else:
            splits.append((customers, dict(known)))
    total = sum(customers for customers, _ in splits)
    shares: dict[str, float] = {}
    for customers, split in splits:
        unseen = 1 - sum(split.values())
        for arm, share in (split | ({"": unseen} if unseen > _ROUNDING else {})).items():
            shares[arm] = shares.get(arm, 0.0) + share * customers / total
    return {arm: share for arm, share in shares.items() if share}


def chi_square_tail(distance: float, freedom: int) -> float:
    """Return the chance that a chi-square variable is larger (Abramowitz & Stegun 26.4.4 and 26.4.5).

    >>> [round(chi_square_tail(x, k), 4) for x, k in ((3.841, 1), (5.991, 2), (7.815, 3), (9.488, 4))]
    [0.05, 0.05, 0.05, 0.05]
    """
    half = distance / 2
    tail, start = (math.erfc(math.sqrt(half)), 1) if freedom % 2 else (math.exp(-half), 2)
    for k in range(start, freedom, 2):
        tail += half ** (k / 2) * math.exp(-half) / math.gamma(k / 2 + 1)
    return tail


def rows_needed(
    rate: float, effect: float, *, share: float = 0.5, level: float = 0.95, power: float = 0.8
) -> tuple[int, int]:
    """Return how many rows each arm needs to tell ``rate`` from ``rate - effect`` (Fleiss, Tytun & Ury 1980).

    Two-sided test of two proportions without continuity correction; with equal arms it is R's ``power.prop.test``.

    Args:
        rate: of the first arm.
        effect: smallest difference that matters, above 0.
        share: of all rows, that the second arm gets.
        level: one minus the chance of a false alarm.
        power: chance to find the difference.

    Raises:
        ConfigError: the second rate would leave (0, 1).

    >>> rows_needed(0.75, 0.25, power=0.9)  # R's manual: n = 76.7
    (77, 77)
    """
    other = rate - effect
    if not (0 < rate < 1 and 0 < other < 1 and effect > 0):
        raise ConfigError(
            "EFFECT_INVALID",
            f"A rate of {rate:.4g} cannot fall by {effect:.4g}.",
            "An effect between 0 and the rate.",
            "Set --size to a smaller difference.",
        )
    ratio = share / (1 - share)
    mean = (rate + ratio * other) / (1 + ratio)
    normal = NormalDist()
    false_alarm = normal.inv_cdf((1 + level) / 2) * math.sqrt((ratio + 1) * mean * (1 - mean))
    found = normal.inv_cdf(power) * math.sqrt(ratio * rate * (1 - rate) + other * (1 - other))
    first = (false_alarm + found) ** 2 / (ratio * effect**2)
    return math.ceil(first), math.ceil(ratio * first)


def _wilson(hits: int, rows: int, level: float) -> tuple[float, float]:
    """Return Wilson's score interval of a rate (1927)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = hits / rows
    middle, half = p + z**2 / (2 * rows), z * math.sqrt(p * (1 - p) / rows + z**2 / (4 * rows**2))
    return (middle - half) / (1 + z**2 / rows), (middle + half) / (1 + z**2 / rows)
