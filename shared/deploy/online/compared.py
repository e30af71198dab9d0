"""How far an exported model is from Spark's, and the refusal of one that is too far or was compared on too few rows.

The comparison is made by `shared.deploy.export.parity`; the service, which has no Spark, reads what it found.
"""

from typing import Any

from shared.core.config import Settings
from shared.core.errors import ModelError
from shared.registry.gates import PARITY_ROWS, PARITY_TOLERANCE


class Parity(Settings):
    """What a comparison found.

    Args:
        rows: rows compared, edge cases and drawn rows among them.
        edge_rows: rows with nulls, NaN, unseen levels and extremes.
        drawn_rows: rows that are no customer's, made of values of the table, which had too few of its own.
        largest_difference: of a probability; infinite where one engine gives a number and the other none.
        tolerance: what is accepted.
    """

    rows: int
    edge_rows: int
    drawn_rows: int = 0
    largest_difference: float
    tolerance: float

    @property
    def is_enough(self) -> bool:
        """Whether so many rows were compared as are needed, edge cases not counted."""
        return self.rows - self.edge_rows >= PARITY_ROWS

    @property
    def allowed(self) -> float:
        """The largest difference that is accepted, whatever the settings said then."""
        return min(self.tolerance, PARITY_TOLERANCE)

    @property
    def is_within(self) -> bool:
        """Whether the export may be used; never on too few rows, and never beyond `PARITY_TOLERANCE`."""
        return self.is_enough and self.largest_difference <= self.allowed

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, for a document."""
        return self.model_dump()


def refuse(parity: Parity) -> None:
    """Refuse an export that differs from Spark, or was compared on too few rows to tell.

    Raises:
        ModelError: EXPORT_NOT_COMPARED, EXPORT_MISMATCH.
    """
    if not parity.is_enough:
        raise ModelError(
            "EXPORT_NOT_COMPARED",
            f"The export was compared with Spark on {parity.rows - parity.edge_rows} rows beside edge cases.",
            f"At least {PARITY_ROWS:,}.",
            "Run evaluate again, which draws rows where the table has too few, or set serving.require_parity=false.",
        )
    if not parity.is_within:
        raise ModelError(
            "EXPORT_MISMATCH",
            f"On {parity.rows} rows the export differs from Spark by up to {parity.largest_difference:g}.",
            f"At most {parity.allowed:g}.",
            "Report it; score in batches meanwhile, with serving.export=false.",
        )
