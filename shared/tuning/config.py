"""How long, by which method and over what settings of a model are searched."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from shared.core.config import Settings
from shared.tuning.space import Parameter


class TuningConfig(Settings):
    """A search over settings of the model, before it is trained; with neither budget nothing is searched.

    Args:
        max_trials: how many settings are tried, those of an interrupted search among them; 0: as many as `max_minutes`
            allows.
        max_minutes: after so many minutes no new trial begins, the time that an interrupted search took for its trials among
            them; None: no limit.
        method: ``optuna`` (tree-structured Parzen estimator, Bergstra et al. 2011, which learns from earlier trials),
            ``random``, or ``grid`` (every combination of a few points, in an order drawn by the seed).
        folds: at most so many; by time as many as the snapshots allow.
        parallel: trials at once, beside the folds of each, which always run at once. For a seed, ``random`` and ``grid``
            give the same whatever it is. ``optuna`` does too for the same `parallel`, but with more of them at once it
            knows less when it proposes: more is quicker on a cluster and tries worse settings.
        patience: stop when so many trials in a row have gained nothing; 0: never.
        min_gain: the least gain that counts, in the metric.
        space: what is searched instead of the vertical's default, e.g. ``{boosted_depth: [1, 2, 4], logistic_penalty:
            {low: 0.0001, high: 1, log: true}}``.
    """

    max_trials: int = Field(0, ge=0)
    max_minutes: float | None = Field(None, gt=0)
    method: Literal["optuna", "random", "grid"] = "optuna"
    folds: int = Field(4, ge=2, le=50)
    parallel: int = Field(1, ge=1, le=32)
    patience: int = Field(10, ge=0)
    min_gain: float = Field(0.0001, ge=0)
    space: Mapping[str, Parameter] = {}

    @property
    def is_on(self) -> bool:
        """Whether there is a budget."""
        return self.max_trials > 0 or self.max_minutes is not None


@dataclass
class Budget:
    """Trials and time that several searches share; what one leaves, the next may use.

    Args:
        tuning: the limits.
        searches: how many searches share them.
    """

    tuning: TuningConfig
    searches: int

    def __post_init__(self) -> None:
        minutes = self.tuning.max_minutes
        self._trials_left = self.tuning.max_trials
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    def share(self) -> tuple[int | None, float | None]:
        """Return the part of the next search: most trials, and the `time.monotonic` after which none begins."""
        now, searches = time.monotonic(), max(self.searches, 1)
        trials = -(-self._trials_left // searches) if self.tuning.max_trials else None
        return trials, None if self._end is None else now + (self._end - now) / searches

    def spend(self, trials: int, seconds_before: float = 0.0) -> None:
        """Note that a search has ended after so many trials, for which an earlier run took so many seconds."""
        if self._end is not None:
            self._end -= seconds_before
        self._trials_left, self.searches = self._trials_left - trials, self.searches - 1
