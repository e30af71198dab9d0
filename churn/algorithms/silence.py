"""How long a customer must be silent before the silence says something, proposed from the histories in an event log."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Final

from churn.config import LabelConfig

_LENGTHS: Final = (7, 14, 30, 60, 90, 180, 365)
_DAY: Final = 86_400
_MOST_SNAPSHOTS: Final = 16


@dataclass(frozen=True)
class Histories:
    """Days on which customers were seen.

    Args:
        days: of each customer, ascending, as days since 1970.
        begin: first day of the log.
        end: the day after the last.
    """

    days: Sequence[Sequence[int]]
    begin: date
    end: date

    @property
    def length(self) -> int:
        """Days of the log."""
        return (self.end - self.begin).days


def histories(customers: Sequence[str | None], seconds: Sequence[float | None]) -> Histories:
    """Return the histories in a log, from the customer and the time (seconds since 1970, UTC) of each event."""
    seen: dict[str, set[int]] = defaultdict(set)
    for customer, second in zip(customers, seconds, strict=True):
        if customer is not None and second is not None:
            seen[customer].add(int(second // _DAY))
    newest = max((day for days in seen.values() for day in days), default=0)
    oldest = min((day for days in seen.values() for day in days), default=0)
    epoch = date(1970, 1, 1)
    return Histories(
        [sorted(days) for days in seen.values()], epoch + timedelta(days=oldest), epoch + timedelta(days=newest + 1)
    )


def proposed_windows(log: Histories) -> LabelConfig:
    """Return label windows for a log: the outcome window is the shortest that nine in ten pauses fit into.

    A pause is the time between two days of a customer. The outcome window takes at most a sixth of the log, so that there
    are snapshots to learn from and others to judge by; the observation window is three times as long, the gap a quarter.

    >>> log = Histories([[0, 3, 9], [1, 11]], date(1970, 1, 1), date(1971, 1, 1))
    >>> windows = proposed_windows(log)
    >>> windows.observation_days, windows.gap_days, windows.outcome_days, windows.snapshots
    (42, 3, 14, 16)
    """
    pauses = sorted(after - before for days in log.days for before, after in pairwise(days))
    needed = pauses[math.ceil(0.9 * len(pauses)) - 1] if pauses else 30
    fitting = [length for length in _LENGTHS if length <= max(log.length / 6, _LENGTHS[0])]
    outcome = next((length for length in fitting if length >= needed), fitting[-1])
    observation = max(min(3 * outcome, log.length // 3), 1)
    snapshots = max((log.length - observation) // outcome + 1, 1)
    return LabelConfig(
        observation_days=observation,
        gap_days=outcome // 4,
        outcome_days=outcome,
        every_days=outcome,
        snapshots=min(snapshots, _MOST_SNAPSHOTS),
    )


def churn_share(log: Histories, windows: LabelConfig) -> float | None:
    """Return the share of customers at risk on the last labelled snapshot who are silent after; None when nobody is."""
    snapshot = (log.end - date(1970, 1, 1)).days - windows.gap_days - windows.outcome_days
    begin, start = snapshot - windows.observation_days, snapshot + windows.gap_days
    at_risk = [days for days in log.days if any(begin <= day < snapshot for day in days)]
    silent = [days for days in at_risk if not any(start <= day < start + windows.outcome_days for day in days)]
    return len(silent) / len(at_risk) if at_risk else None
