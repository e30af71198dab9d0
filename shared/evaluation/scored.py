"""Predictions in one shape: probability ``p`` and label ``y`` as doubles, and what makes them unusable.

A row with a problem is marked, not dropped: whoever aggregates gets the problems in the same pass and refuses them.
"""

from collections.abc import Iterable
from typing import Final

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from shared.core.errors import DataError, ModelError

BINS: Final = 10
BUCKETS: Final = 4001
EPSILON: Final = 2.0**-52  # scikit-learn clips to the machine epsilon before taking the logarithm


def scored(predictions: DataFrame, label: str, probability: str, **keys: Column) -> DataFrame:
    """Return ``p, y`` of each row with what metrics need of it, and ``keys`` under their names.

    ``bin`` is one of `BINS` of equal width, a bound belongs to the
    bin above it; ``bucket`` is `log_odds_bucket`. ``problem`` is the code of what is wrong, or null, and ``example``
    the value in question.

    Args:
        predictions: rows to judge.
        label: column that holds 0 or 1 in any type.
        probability: column with the probability of label 1.
        keys: further columns, by the name they get.
    """
    p, y = F.col(probability).try_cast("double"), F.col(label).try_cast("double")
    is_label = F.coalesce(y.isin(0.0, 1.0), F.lit(False))
    is_probability = F.coalesce(p.between(0.0, 1.0), F.lit(False))  # NaN counts as greater than any number
    problem = F.when(~is_label, F.when(F.col(label).isNull(), "LABEL_NULL").otherwise("LABEL_NOT_BINARY"))
    problem = problem.when(~is_probability, "PROBABILITY_INVALID")
    culprit = F.when(~is_label, F.col(label).cast("string")).when(~is_probability, F.col(probability).cast("string"))
    clipped = F.greatest(F.least(p, F.lit(1 - EPSILON)), F.lit(EPSILON))
    return predictions.select(
        p.alias("p"),
        y.alias("y"),
        (-y * F.log(clipped) - (1 - y) * F.log1p(-clipped)).alias("log_loss"),
        ((p - y) ** 2).alias("squared_error"),
        F.greatest(F.least(F.floor(p * BINS), F.lit(BINS - 1)), F.lit(0)).cast("int").alias("bin"),
        log_odds_bucket(p).alias("bucket"),
        problem.alias("problem"),
        culprit.alias("example"),
        *(column.alias(name) for name, column in keys.items()),
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
    """Return the aggregates of a group of scored rows: ``n`` rows, and sums of what they are scored with."""
    return [
        F.count("*").alias("n"),
        F.count("problem").alias("problem_rows"),
        F.sum("y").alias("positives"),
        F.sum("p").alias("expected"),
        F.sum("log_loss").alias("log_loss"),
        F.sum("squared_error").alias("squared_error"),
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
    """Refuse scored ``rows`` that cannot be used; one job. Raises as `refuse`."""
    refuse(rows, rows.agg(*tallies()).collect(), label, probability)


def refuse(
    rows: DataFrame, totals: Iterable[Row], label: str, probability: str, *, is_one_class_fine: bool = False
) -> None:
    """Raise what is wrong with scored ``rows``, of which ``totals`` are `tallies`; rows are read only to explain.

    Raises:
        DataError: no rows; a label that is null, not 0/1, or the same everywhere.
        ModelError: a probability that is null, NaN or outside [0, 1].
    """
    found = list(totals)
    n, problems = sum(row["n"] for row in found), sum(row["problem_rows"] for row in found)
    if not n:
        raise DataError("EVALUATION_EMPTY", "There are no rows to evaluate.", "At least one row of each class.")
    if problems:
        raise _explained(rows, label, probability)
    positives = sum(row["positives"] for row in found)
    if not is_one_class_fine and not 0 < positives < n:
        raise DataError(
            "LABEL_ONE_CLASS",
            f"'{label}' is {int(positives > 0)} in all {n} rows.",
            "Both classes.",
            "Evaluate on more rows.",
        )


def _explained(rows: DataFrame, label: str, probability: str) -> DataError | ModelError:
    kinds = rows.groupBy("problem").agg(F.count("*").alias("rows"), F.min("example").alias("example"))
    found = {row["problem"]: row for row in kinds.collect()}
    code = next(code for code in _NEXT_STEPS if code in found)
    column = probability if code == "PROBABILITY_INVALID" else label
    bad, count = found[code], sum(row["rows"] for row in found.values())
    what = f"'{column}' is {bad['example'] or 'null'} in {bad['rows']} of {count} rows."
    return (ModelError if code == "PROBABILITY_INVALID" else DataError)(code, what, *_NEXT_STEPS[code])


_NEXT_STEPS: Final = {
    "LABEL_NULL": ("0 or 1.", "Leave out rows whose outcome is not known."),
    "LABEL_NOT_BINARY": ("0 or 1.", "Map the label to 0 and 1."),
    "PROBABILITY_INVALID": ("A number from 0 to 1.", "Look at the model and its inputs."),
}
