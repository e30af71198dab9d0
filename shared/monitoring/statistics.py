"""How far two sets of counts in the same bins are apart: distances and tests, without Spark.

Tests take the rows of both sides for independent draws. Windows that share customers are more alike than that, so a test
on them says "different" less often than its level, not more.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov

Counts = Sequence[int] | NDArray[Any]

_LEAST_EXPECTED = 5.0


def shares(counts: Counts) -> NDArray[np.float64]:
    """Return counts over their sum; zeros for no rows."""
    found: NDArray[np.float64] = np.asarray(counts, dtype=float)
    total: float = max(found.sum(), 1.0)
    return found / total


def psi(expected: Counts, actual: Counts) -> float:
    """Return the population stability index, the symmetric Kullback–Leibler divergence in nats (Kullback 1951).

    Half a row is added to every bin of both sides (Jeffreys), so an empty bin gives a large value and not infinity. Grows
    with the number of bins, and of equal distributions it is about ``(bins - 1) (1/n + 1/m)``.
    """
    p, q = (shares(np.asarray(counts, dtype=float) + 0.5) for counts in (expected, actual))
    return float(np.sum((q - p) * np.log(q / p)))


def js_distance(expected: Counts, actual: Counts) -> float:
    """Return the Jensen–Shannon distance: root of the divergence in bits (Lin 1991), 0 for equal and 1 for disjoint."""
    p, q = shares(expected), shares(actual)
    middle = (p + q) / 2

    def divergence(part: NDArray[np.float64]) -> float:
        held = part > 0
        return float(np.sum(part[held] * np.log2(part[held] / middle[held])))

    return math.sqrt(max(divergence(p) + divergence(q), 0.0) / 2)


def ks(expected: Counts, actual: Counts) -> float:
    """Return the Kolmogorov–Smirnov distance at the bounds of ordered bins: at most that of the values themselves."""
    return float(np.max(np.abs(np.cumsum(shares(expected)) - np.cumsum(shares(actual))), initial=0.0))


def ks_p_value(distance: float, expected_rows: int, actual_rows: int) -> float:
    """Return the asymptotic two-sided p-value of a distance (Smirnov 1948); for a binned distance it is too large, if anything."""
    return float(kolmogorov(distance * math.sqrt(expected_rows * actual_rows / (expected_rows + actual_rows))))


def total_variation(expected: Counts, actual: Counts) -> float:
    """Return the share of rows that would have to change bins: half the sum of the differences."""
    return float(np.abs(shares(expected) - shares(actual)).sum() / 2)


def chi_square(expected: Counts, actual: Counts) -> tuple[float, int, float]:
    """Return statistic, degrees of freedom and p-value of Pearson's test of homogeneity of two samples.

    Bins in which the smaller sample would have fewer than five rows are pooled, smallest first (Cochran 1954). With
    fewer than two bins left there is nothing to test: 0, 0 and 1.
    """
    table = np.array([expected, actual], dtype=float)
    table = table[:, np.argsort(table.sum(axis=0), kind="stable")]
    least = table.sum(axis=1).min() / max(table.sum(), 1.0)
    while table.shape[1] > 1 and table[:, 0].sum() * least < _LEAST_EXPECTED:
        pooled = table[:, 1:].copy()
        pooled[:, 0] += table[:, 0]
        table = pooled[:, np.argsort(pooled.sum(axis=0), kind="stable")]
    freedom = table.shape[1] - 1
    if freedom < 1 or not table.sum(axis=1).all():
        return 0.0, 0, 1.0
    rows, columns, all_ = table.sum(axis=1, keepdims=True), table.sum(axis=0, keepdims=True), table.sum()
    fair = rows * columns / all_
    statistic = float(((table - fair) ** 2 / fair).sum())
    return statistic, freedom, float(chdtrc(freedom, statistic))


def share_p_value(hits: int, rows: int, other_hits: int, other_rows: int) -> float:
    """Return the two-sided p-value of equal shares, by the normal approximation with a pooled share; 1 where none or all hit."""
    pooled = (hits + other_hits) / (rows + other_rows)
    error = math.sqrt(pooled * (1 - pooled) * (1 / rows + 1 / other_rows))
    return math.erfc(abs(hits / rows - other_hits / other_rows) / error / math.sqrt(2)) if error else 1.0


def share_error(hits: int, rows: int, other_hits: int, other_rows: int) -> float:
    """Return the standard error of the difference of two shares."""
    p, q = hits / rows, other_hits / other_rows
    return math.sqrt(p * (1 - p) / rows + q * (1 - q) / other_rows)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number, so that the chance of any false one is the level (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min((len(p_values) - rank) * p_values[place], 1.0))
        corrected[place] = largest
    return corrected


def auc_error(auc: float, positives: int, negatives: int) -> float:
    """Return the standard error of an AUC (Hanley & McNeil 1982)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (positives - 1) * (q1 - auc**2) + (negatives - 1) * (q2 - auc**2)
    return math.sqrt(max(spread, 0.0) / (positives * negatives))
