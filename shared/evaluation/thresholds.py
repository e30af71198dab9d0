"""Decisions from probabilities: whom to contact when a contact costs money and a saved customer is worth some.

The threshold follows from the costs and needs calibrated probabilities; it is not searched for on the evaluated rows.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from shared.evaluation.binary import Point
from shared.evaluation.costs import Costs as Costs
from shared.evaluation.scored import refuse, scored, tallies


@dataclass(frozen=True)
class Confusion:
    """Counts at a threshold; a row is selected when its probability is at least the threshold."""

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def precision(self) -> float | None:
        """Share of positives among the selected; None when none is."""
        selected = self.true_positives + self.false_positives
        return self.true_positives / selected if selected else None

    @property
    def recall(self) -> float | None:
        """Share of the positives that are selected; None without positives."""
        positives = self.true_positives + self.false_negatives
        return self.true_positives / positives if positives else None

    def as_dict(self) -> dict[str, float | None]:
        """Return counts, precision and recall by name."""
        return {**asdict(self), "precision": self.precision, "recall": self.recall}


def confusion(predictions: DataFrame, threshold: float, *, label: str, probability: str) -> Confusion:
    """Count the rows on both sides of ``threshold``; two rows are collected.

    Raises:
        DataError, ModelError: as `shared.evaluation.binary.evaluate`, except that one class is accepted.
    """
    rows = scored(predictions, label, probability)
    found = rows.groupBy((F.col("p") >= threshold).alias("is_selected")).agg(*tallies()).collect()
    refuse(rows, found, label, probability, is_one_class_fine=True)
    counts = {row["is_selected"]: (int(row["positives"]), int(row["n"] - row["positives"])) for row in found}
    (true_positives, false_positives), (false_negatives, true_negatives) = (
        counts.get(is_selected, (0, 0)) for is_selected in (True, False)
    )
    return Confusion(threshold, true_positives, false_positives, false_negatives, true_negatives)


def profit_curve(points: Sequence[Point], costs: Costs) -> list[tuple[float, float]]:
    """Return (share of customers contacted, profit) for each point, starting with nobody and nothing."""
    total = points[-1].true_positives + points[-1].false_positives if points else 0
    curve = [
        ((p.true_positives + p.false_positives) / total, costs.profit(p.true_positives, p.false_positives))
        for p in points
    ]
    return [(0.0, 0.0), *curve]
