"""The money of a decision, and the probability from which it pays; plain arithmetic that the online service shares."""

from dataclasses import dataclass

from shared.core.errors import ConfigError


@dataclass(frozen=True)
class Costs:
    """Money of one decision, all in one currency.

    Args:
        contact: cost of contacting a customer.
        value_saved: value of a churner who stays.
        success_rate: share of contacted churners who stay.

    Raises:
        ConfigError: an amount is not positive or the rate not in (0, 1].
    """

    contact: float
    value_saved: float
    success_rate: float

    def __post_init__(self) -> None:
        # Written so that a NaN is refused as well.
        if not (self.contact > 0 and self.value_saved > 0 and 0 < self.success_rate <= 1):
            raise ConfigError("COSTS_INVALID", f"{self}.", "Positive amounts, a rate in (0, 1].", "Edit costs.")

    @property
    def threshold(self) -> float:
        """Probability from which a contact pays: ``contact / (success_rate * value_saved)`` (Elkan 2001).

        Above 1 no contact pays.

        >>> Costs(contact=10, value_saved=200, success_rate=0.25).threshold
        0.2
        """
        return self.contact / (self.success_rate * self.value_saved)

    def profit(self, true_positives: int, false_positives: int) -> float:
        """Return what contacting these customers is expected to earn.

        >>> Costs(contact=10, value_saved=200, success_rate=0.25).profit(10, 30)
        100.0
        """
        gained = true_positives * self.success_rate * self.value_saved
        return gained - (true_positives + false_positives) * self.contact
