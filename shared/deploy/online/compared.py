"""How far an exported model is from Spark's, and the refusal of one that is too far.

The comparison is made by `shared.deploy.export.parity`; the service, which has no Spark, reads what it found.
"""

from typing import Any, Final

from shared.core.config import Settings
from shared.core.errors import ModelError

TOLERANCE: Final = 1e-5
"""The largest difference of a probability that may be accepted."""


class Parity(Settings):
    """What a comparison found.

    Args:
        rows: rows compared, edge cases among them.
        edge_rows: rows with nulls, NaN, unseen levels and extremes.
        largest_difference: of a probability; infinite where one engine gives a number and the other none.
        tolerance: what is accepted.
    """

    rows: int
    edge_rows: int
    largest_difference: float
    tolerance: float

    @property
    def is_within(self) -> bool:
        """Whether the export may be used; never without rows, and never beyond `TOLERANCE`."""
        return self.rows > 0 and self.largest_difference <= min(self.tolerance, TOLERANCE)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, for a document."""
        return self.model_dump()


def refuse(parity: Parity) -> None:
    """Refuse an export that differs from Spark.

    Raises:
        ModelError: EXPORT_MISMATCH.
    """
    if not parity.is_within:
        raise ModelError(
            "EXPORT_MISMATCH",
            f"On {parity.rows} rows the export differs from Spark by up to {parity.largest_difference:g}.",
            f"At most {min(parity.tolerance, TOLERANCE):g}.",
            "Report it; score in batches meanwhile, with serving.export=false.",
        )
