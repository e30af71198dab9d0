"""What a score says beside the probability: whether to contact the customer, and why; the same in batch and on a stream.

The threshold is the caller's: it follows from the costs of a command and not from the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.ml import Transformer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn.algorithms import reasons
from churn.algorithms.candidates import PROBABILITY, Inputs
from churn.config import DECISIONS
from churn.schema import CUSTOMER_ID, SNAPSHOT_DATE

DECISION, REASONS = "decision", "reasons"
REASON_TYPE = "array<struct<feature: string, value: string, contribution: double>>"
_KEY = (CUSTOMER_ID, SNAPSHOT_DATE)


@dataclass(frozen=True)
class Scorer:
    """A model and what is needed to explain it.

    Args:
        model: adds `probability`.
        inputs: the feature columns it reads.
        typical: reference values of the features, from training.
        reasons: most reasons a score comes with; 0 for none.
    """

    model: Transformer
    inputs: Inputs
    typical: Mapping[str, object]
    reasons: int

    def score(self, rows: DataFrame) -> DataFrame:
        """Add `probability` and `reasons`, the features that move it most, largest first."""
        if not self.reasons:
            return self.model.transform(rows).withColumn(REASONS, F.array().cast(REASON_TYPE))
        explained = reasons.with_contributions(rows, self.model, self.inputs, self.typical, key=_KEY)
        return explained.withColumn(REASONS, F.slice("contributions", 1, self.reasons)).drop("contributions")


def decided(scored: DataFrame, threshold: float) -> DataFrame:
    """Add `decision`: ``contact`` from the probability ``threshold`` on, else ``leave``."""
    contact, leave = DECISIONS
    return scored.withColumn(DECISION, F.when(F.col(PROBABILITY) >= threshold, contact).otherwise(leave))
