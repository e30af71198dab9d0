"""Predictions in one shape, probability `p`, label `y` and weight `w` as doubles, and what makes them unusable.

A row with a problem is kept and marked, so that whoever aggregates finds problems in the same pass and refuses them.
"""

from collections.abc import Iterable
from typing import Final

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from shared.core.errors import DataError, ModelError

EPSILON: Final = 2.0**-52  # scikit-learn clips to the machine epsilon before taking the logarithm
_LIMIT: Final = 20  # log-odds beyond share one bucket
_PER_UNIT: Final = 100
BUCKETS: Final = 2 * _LIMIT * _PER_UNIT + 1

LABEL_NULL: Final = "LABEL_NULL"
LABEL_NOT_BINARY: Final = "LABEL_NOT_BINARY"
PROBABILITY_INVALID: Final = "PROBABILITY_INVALID"
WEIGHT_INVALID: Final = "WEIGHT_INVALID"


def scored(
    predictions: DataFrame, label: str, probability: str, weight: str | None = None, **keys: Column
) -> DataFrame:
    """Return ``p, y, w`` of each row, its ``bucket``, the ``problem`` it has or null, an ``example`` of it, and ``keys``.

    Where there is a problem ``bucket`` and all keys are null, so that grouping by them keeps such rows apart.

    Args:
        predictions: rows to judge.
        label: column that is 0 or 1 in any type.
        probability: column with the probability of label 1.
        weight: column with a weight of zero or more, or None for a weight of one each.
        keys: further columns by name.
    """
    p, y = F.col(probability).try_cast("double"), F.col(label).try_cast("double")
    w = F.lit(1.0) if weight is None else F.col(weight).try_cast("double")
    is_label = F.coalesce(y.isin(0.0, 1.0), F.lit(False))
    is_probability = F.coalesce(p.between(0.0, 1.0), F.lit(False))  # NaN is greater than any number
    is_weight = F.coalesce((w >= 0) & (w < float("inf")), F.lit(False))
    problem = (
        F.when(F.col(label).isNull(), LABEL_NULL)
        .when(~is_label, LABEL_NOT_BINARY)
        .when(~is_probability, PROBABILITY_INVALID)
        .when(~is_weight, WEIGHT_INVALID)
    )
    culprit = {LABEL_NOT_BINARY: label, PROBABILITY_INVALID: probability, WEIGHT_INVALID: weight or label}
    rows = predictions.select(p.alias("p"), y.alias("y"), w.alias("w"), problem.alias("problem"), "*")
    is_fine = F.col("problem").isNull()
    return rows
