"""Grid, random and Optuna search: one loop, in rounds of trials that run at once.

A search is replayed, not continued: the same proposals are made in the same order, and those whose trial has finished
before are not tried again. So a search that was killed ends as one that was not.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pyspark.sql import SparkSession

from shared.core.errors import ModelError
from shared.core.log import get_logger
from shared.core.parallel import in_parallel
from shared.tuning.config import TuningConfig
from shared.tuning.space import Setting, Space
from shared.tuning.trials import Trial, Trials, best_of, one_standard_error

if TYPE_CHECKING:
    import optuna

_LOG = get_logger("tuning")
_STARTUP: Final = 5  # random trials before TPE models anything; Optuna's 10 are half of a small budget
_REPEATS: Final = 50  # proposals of settings tried before, after which none is expected to be new

Objective: TypeAlias = Callable[[Setting], Sequence[float]]


@dataclass(frozen=True)
class Search:
    """What a search found.

    Args:
        trials: in the order of their numbers; empty when the budget was spent before the first.
        complexity: of each trial, by number.
        stopped: why no further trial was begun.
        resumed: how many of the trials an earlier run had finished.
        seconds: how long it took.
        seconds_before: how long the resumed trials took the earlier run.
    """

    trials: Sequence[Trial]
    complexity: Mapping[int, float]
    stopped: str
    resumed: int
    seconds: float
    seconds_before: float = 0.0

    @property
    def best(self) -> Trial:
        """The trial with the least mean."""
        return best_of(self.trials)

    @property
    def chosen(self) -> Trial:
        """The simplest within one standard error of the best."""
        return one_standard_error(self.trials, self.complexity)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values; ``best`` and ``chosen`` are numbers of trials, null without any."""
        return {
            "trials": [trial.as_dict() | {"complexity": self.complexity[trial.number]} for trial in self.trials],
            "best": self.best.number if self.trials else None,
            "chosen": self.chosen.number if self.trials else None,
            "stopped": self.stopped,
            "resumed": self.resumed,
            "seconds": self.seconds,
            "seconds_before": self.seconds_before,
        }


def search(
    spark: SparkSession,
    space: Space,
    objective: Objective,
    trials: Trials,
    *,
    start: Setting,
    tuning: TuningConfig,
    seed: int,
    max_trials: int | None = None,
    deadline: float | None = None,
) -> Search:
    """Try settings until a limit is reached, and return the trials; ``start`` is the first of them.

    A setting is tried once. ``tuning.parallel`` trials run at once and are all awaited, so what is proposed depends on
    the seed and on results, never on which trial was quicker. Trials of the last round beyond the one that ended the
    patience are left out, so that they do not depend on ``parallel`` either. No trial is cut short after its first
    folds: the folds of a trial run at once, and a bar made of other trials would depend on how many run beside it.

    Args:
        spark: the session of the fits.
        space: what is searched.
        objective: returns the loss in each fold for a setting; called from several threads.
        trials: where they are kept; what it has of the same search counts.
        start: the setting as configured, inside the space or not.
        tuning: method, trials at once, patience.
        seed: of the proposals.
        max_trials: None: no limit.
        deadline: `time.monotonic` after which no new trial begins, less what the resumed ones took; None: no limit.

    Raises:
        ModelError: LOSS_NOT_FINITE.
    """
    began, kept = time.monotonic(), trials.take_over()
    proposals = _Proposals(space, start, tuning.method, seed)
    done: list[Trial] = []
    resumed: set[int] = set()
    before = 0.0
    while not (stopped := _stop(done, tuning, max_trials, deadline and deadline - before)):
        most = tuning.parallel if max_trials is None else min(tuning.parallel, max_trials - len(done))
        batch = proposals.next(most)
        if not batch:
            stopped = "no new setting proposed"
            break
        numbered = [(len(done) + place, setting) for place, setting in enumerate(batch)]
        known = {number for number, setting in numbered if number in kept and _is_same(kept[number].setting, setting)}
        calls = [partial(_tried, objective, trials, *each) for each in numbered if each[0] not in known]
        made = {trial.number: trial for trial in in_parallel(spark, calls, threads=tuning.parallel)}
        done += [made.get(number) or kept[number] for number, _ in numbered]
        resumed |= known
        before += max((kept[number].seconds for number in known), default=0.0)  # they ran at once
        proposals.tell(done[len(done) - len(numbered) :])
    used = done[: _ended(done, tuning) or len(done)]
    return Search(
        trials=used,
        complexity={trial.number: space.complexity(trial.setting) for trial in used},
        stopped=stopped,
        resumed=sum(trial.number in resumed for trial in used),
        seconds=time.monotonic() - began,
        seconds_before=before,
    )


def trials_until_no_gain(losses: Sequence[float], patience: int, min_gain: float) -> int | None:
    """Return after how many trials the last ``patience`` have not gained ``min_gain`` together on the best before; or None.

    >>> trials_until_no_gain([0.5, 0.4, 0.4, 0.39, 0.45, 0.41, 0.3], patience=3, min_gain=0.05)
    5
    >>> trials_until_no_gain([0.5, 0.4, 0.3], patience=1, min_gain=0.0) is None
    True
    """
    best, at = math.inf, 0
    for count, loss in enumerate(losses, start=1):
        if loss < best - min_gain:
            best, at = loss, count
        elif patience and count - at >= patience:
            return count
    return None


@dataclass
class _Proposals:
    """Settings to try, in an order that depends on the seed, and for Optuna on what it was told."""

    space: Space
    start: Setting
    method: str
    seed: int
    asked: list[tuple["optuna.Trial | None", Setting]] = field(default_factory=list)

    def __post_init__(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        grid = self.space.grid()
        samplers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
            "optuna": lambda: optuna.samplers.TPESampler(seed=self.seed, n_startup_trials=_STARTUP),
            "random": lambda: optuna.samplers.RandomSampler(seed=self.seed),
            "grid": lambda: optuna.samplers.GridSampler(grid, seed=self.seed),
        }
        self._study = optuna.create_study(sampler=samplers[self.method]())
        self._distributions = self.space.distributions()
        self._left = math.prod(len(values) for values in grid.values()) if self.method == "grid" else math.inf
        self._tried: list[Setting] = []

    def next(self, count: int) -> list[Setting]:
        """Return up to ``count`` settings that were not returned before; fewer when there are no more."""
        self.asked = []
        if not self._tried:
            self._add(None, self.start)
        repeats = 0
        while len(self.asked) < count and self._left > 0 and repeats < _REPEATS:
            proposed = self._study.ask(self._distributions)
            self._left -= 1
            if any(_is_same(proposed.params, setting) for setting in self._tried):
                repeats += 1
                self._forget(proposed)
            else:
                self._add(proposed, proposed.params)
        return [setting for _, setting in self.asked]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Tell the results of the settings returned last, in their order; grid and random do not listen."""
        import optuna

        if self.method != "optuna":
            return
        for (proposed, setting), trial in zip(self.asked, trials, strict=True):
            if proposed is not None:
                self._study.tell(proposed, trial.mean)
            elif self.space.contains(setting):
                self._study.add_trial(
                    optuna.trial.create_trial(params=dict(setting), distributions=self._distributions, value=trial.mean)
                )

    def _add(self, proposed: "optuna.Trial | None", setting: Setting) -> None:
        self.asked.append((proposed, setting))
        self._tried.append(setting)

    def _forget(self, proposed: "optuna.Trial") -> None:
        import optuna

        if self.method == "optuna":
            self._study.tell(proposed, state=optuna.trial.TrialState.FAIL)


def _tried(objective: Objective, trials: Trials, number: int, setting: Setting) -> Trial:
    with trials.trial(number, setting) as recorder:
        began = time.monotonic()
        losses = tuple(float(loss) for loss in objective(setting))
        trial = Trial(number, dict(setting), losses, time.monotonic() - began, recorder.run_id)
        if not all(math.isfinite(loss) for loss in losses):
            raise ModelError("LOSS_NOT_FINITE", f"Trial {number} of {dict(setting)} gave {losses}.", "Finite losses.")
        recorder.result(trial)
    _LOG.info("trial done", extra={"search": trials.name, "trial": number, "loss": trial.mean, **trial.setting})
    return trial


def _stop(done: Sequence[Trial], tuning: TuningConfig, max_trials: int | None, deadline: float | None) -> str:
    """Return why no further trial begins; empty where one does."""
    if _ended(done, tuning):
        return f"nothing gained in {tuning.patience} trials"
    if max_trials is not None and len(done) >= max_trials:
        return f"all {max_trials} trials done"
    if deadline is not None and time.monotonic() >= deadline:
        return "time is up"
    return ""


def _ended(done: Sequence[Trial], tuning: TuningConfig) -> int | None:
    return trials_until_no_gain([trial.mean for trial in done], tuning.patience, tuning.min_gain)


def _is_same(one: Setting, other: Setting) -> bool:
    return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)


def _equal(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9)
    return one == other
