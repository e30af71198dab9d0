"""Predictions in one shape: probability ``p``, label ``y`` and weight ``w`` as doubles, and what makes them unusable.

A row with a problem is marked, not dropped: whoever aggregates gets the problems in the same pass and refuses them.
"""

from collections.abc import Iterable
from typing import Final

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from shared.core.errors import DataError, ModelError

BINS: Final = 10
BUCKETS: Final = 4001
_EPSILON: Final = 2.0**-52  # scikit-learn clips to the machine epsilon before taking the logarithm


def scored(
    predictions: DataFrame, label: str, probability: str, weight: str | None = None, **keys: Column
) -> DataFrame:
    """Return ``p, y, w`` of each row with what metrics need of it, and ``keys`` under their names.

    ``log_loss`` and ``squared_error`` are unweighted; ``bin`` is one of `BINS` of equal width, a bound belongs to the
    bin above it; ``bucket`` is `log_odds_bucket`. ``problem`` is the code of what is wrong, or null; where it is not
    null, ``bin``, ``bucket`` and the keys are null and ``example`` is the value in question.

    Args:
        predictions: rows to judge.
        label: column that holds 0 or 1 in any type.
        probability: column with the probability of label 1.
        weight: column with finite weights of zero or more; None counts every row once.
        keys: further columns, by the name they get.
    """
    p, y = F.col(probability).try_cast("double"), F.col(label).try_cast("double")
    w = F.lit(1.0) if weight is None else F.col(weight).try_cast("double")
    checks = {
        "LABEL_NULL": (label, F.col(label).isNotNull()),
        "LABEL_NOT_BINARY": (label, y.isin(0.0, 1.0)),
        "PROBABILITY_INVALID": (probability, p.between(0.0, 1.0)),  # NaN counts as greater than any number
        "WEIGHT_INVALID": (weight or label, w.between(0.0, 1e300)),
    }
    # Backwards, so that the first check that fails gives the code.
    problem, example = F.lit(None).cast("string"), F.lit(None).cast("string")
    for code, (name, passes) in reversed(checks.items()):
        fails = ~F.coalesce(passes, F.lit(False))
        problem, example = (
            F.when(fails, F.lit(code)).otherwise(problem),
            F.when(fails, F.col(name).cast("string")).otherwise(example),
        )
    clipped = F.greatest(F.least(p, F.lit(1 - _EPSILON)), F.lit(_EPSILON))
    derived = {
        "bin": F.least(F.floor(p * BINS), F.lit(BINS - 1)).cast("int"),
        "bucket": log_odds_bucket(p),
        **keys,
    }
    return predictions.select(
        p.alias("p"),
        y.alias("y"),
        w.alias("w"),
        (-y * F.log(clipped) - (1 - y) * F.log1p(-clipped)).alias("log_loss"),
        ((p - y) ** 2).alias("squared_error"),
        problem.alias("problem"),
        example.alias("example"),
        *(F.when(problem.isNull(), column).alias(name) for name, column in derived.items()),
    )


def log_odds_bucket(p: Column) -> Column:
    """Return which of `BUCKETS` steps of 0.01 in the log-odds ``p`` is on, from 0 at the lowest; never falls with p.

    A step is one per cent of the odds, so rare events spread over as many buckets as even ones; what lies beyond
    log-odds of ±20 shares the outermost buckets.
    """
    clipped = F.greatest(F.least(p, F.lit(1 - 2.0e-9)), F.lit(2.0e-9))
    step = F.floor(100 * F.log(clipped / (1 - clipped))) + BUCKETS // 2
    return F.greatest(F.least(step, F.lit(BUCKETS - 1)), F.lit(0)).cast("int")


def tallies() -> list[Column]:
    """Return the aggregates of a group of scored rows: ``n``, ``positives`` and sums, all weighted; ``rows`` are not."""
    w = F.col("w")
    return [
        F.count("*").alias("rows"),
        F.count_if(F.col("y") == 1).alias("positive_rows"),
        F.min("example").alias("example"),
        F.sum(w).alias("n"),
        F.sum(w * F.col("y")).alias("positives"),
        F.sum(w * F.col("p")).alias("expected"),
        F.sum(w * F.col("log_loss")).alias("log_loss"),
        F.sum(w * F.col("squared_error")).alias("squared_error"),
    ]


def rank_sums(top: Column) -> list[Column]:
    """Return the sums over scores that rank metrics are made of, from ``n``, ``positives`` and what is above a score.

    ``won``: pairs in which the positive has the higher score, ties half. ``precision``: precision at the score times
    its positives. ``top_positives``: positives among the ``top`` highest rows, the expected share of a tie at the cut.
    """
    n, positives, n_above = F.col("n"), F.col("positives"), F.col("n_above")
    taken = F.least(F.greatest(top - n_above, F.lit(0.0)), n) / n
    return [
        F.sum((n - positives) * (F.col("positives_above") + positives / 2)).alias("won"),
        F.sum(positives * (F.col("positives_above") + positives) / (n_above + n)).alias("precision"),
        F.sum(taken * positives).alias("top_positives"),
    ]


def check(rows: DataFrame, label: str, probability: str) -> None:
    """Refuse scored ``rows`` that have a problem, no row or one class; one job. Raises as `refuse`."""
    refuse(rows.groupBy("problem").agg(*tallies()).collect(), label, probability)


def refuse(groups: Iterable[Row], label: str, probability: str, *, one_class: bool = False) -> None:
    """Raise what is wrong with scored rows, from ``problem`` and `tallies` of every group of them.

    Args:
        groups: totals of groups that keep problems apart.
        label, probability: names of the columns, for the message.
        one_class: accept rows that are all of one class.

    Raises:
        DataError: no rows; a label that is null, not 0/1, or the same everywhere; an invalid weight.
        ModelError: a probability that is null, NaN or outside [0, 1].
    """
    found = list(groups)
    rows = sum(group["rows"] for group in found)
    if not rows:
        raise DataError("EVALUATION_EMPTY", "There are no rows to evaluate.", "At least one row of each class.")
    for code, (error, name, expected, step) in _REFUSALS.items():
        bad = [group for group in found if group["problem"] == code]
        if bad:
            count, value = sum(group["rows"] for group in bad), bad[0]["example"]
            column = {"label": label, "probability": probability}.get(name, name)
            shown = f"'{column}' has no 0 or 1" if code == "LABEL_NULL" else f"'{column}' is {value or 'null'}"
            raise error(code, f"{shown} in {count} of {rows} rows.", expected, step)
    n, positives = sum(group["n"] for group in found), sum(group["positives"] for group in found)
    if not one_class and not 0 < positives < n:
        only = int(positives > 0)
        raise DataError(
            "LABEL_ONE_CLASS", f"'{label}' is {only} in all {rows} rows.", "Both classes.", "Evaluate on more rows."
        )


_REFUSALS: Final[dict[str, tuple[type[DataError] | type[ModelError], str, str, str]]] = {
    "LABEL_NULL": (DataError, "label", "0 or 1.", "Leave out rows whose outcome is not known."),
    "LABEL_NOT_BINARY": (DataError, "label", "0 or 1.", "Map the label to 0 and 1."),
    "PROBABILITY_INVALID": (ModelError, "probability", "A number from 0 to 1.", "Look at the model and its inputs."),
    "WEIGHT_INVALID": (DataError, "the weight", "A finite number of zero or more.", "Look at the weights."),
}
