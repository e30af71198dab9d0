"""Trials as MLflow child runs of a training run: the only place where a search is kept, so it outlives a kill.

Everything goes through a client, since the fluent calls of MLflow know one open run a thread.
"""

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.tuning.space import Setting, Value

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SEARCH_TAG: Final = "accelerators.search"
_NUMBER_TAG: Final = "accelerators.trial"
_SETTING_TAG: Final = "accelerators.setting"
_PARENT_TAG: Final = "mlflow.parentRunId"
_PAGE: Final = 500


@dataclass(frozen=True)
class Trial:
    """A setting that was tried.

    Args:
        number: from 0, in the order of proposal; 0 is what was configured.
        setting: the values.
        losses: the metric in each fold; less is better.
        seconds: how long it took.
        run_id: its MLflow run.
    """

    number: int
    setting: Setting
    losses: tuple[float, ...]
    seconds: float
    run_id: str

    @property
    def mean(self) -> float:
        """The mean over the folds."""
        return statistics.fmean(self.losses)

    @property
    def standard_error(self) -> float:
        """The standard error of the mean: sample standard deviation over the root of the number of folds."""
        return statistics.stdev(self.losses) / math.sqrt(len(self.losses))

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        found = asdict(self) | {"setting": dict(self.setting), "losses": list(self.losses)}
        return found | {"mean": self.mean, "standard_error": self.standard_error}


class Trials:
    """The child runs of one search.

    Args:
        client: of the store of the training run.
        parent: the training run.
        search: fingerprint of the search: the same text for the same search, and for it alone.
        name: of what is searched, shown with each run.
        metric: name of the loss.
    """

    def __init__(self, client: "MlflowClient", parent: "Run", search: str, name: str, metric: str) -> None:
        self.client, self.parent, self.search, self.name, self.metric = client, parent, search, name, metric

    def take_over(self) -> dict[int, Trial]:
        """Return the finished trials of earlier runs of this search by number.

        Those of a training run that did not end well become children of this one; of others they stay where they are.
        What was running then is marked as killed, and so is its training run: the same search must not run twice at once.
        """
        found: dict[int, Trial] = {}
        for run in sorted(self._runs(), key=lambda run: run.info.start_time):
            parent = run.data.tags.get(_PARENT_TAG, self.parent.info.run_id)
            is_abandoned = parent != self.parent.info.run_id and self._close(parent)
            if run.info.status == "RUNNING":
                self.client.set_terminated(run.info.run_id, "KILLED")
            if run.info.status == "FINISHED":
                if is_abandoned:
                    self.client.set_tag(run.info.run_id, _PARENT_TAG, self.parent.info.run_id)
                found.setdefault(int(run.data.tags[_NUMBER_TAG]), self._trial(run))
        return found

    @contextmanager
    def trial(self, number: int, setting: Setting) -> Iterator["Recorder"]:
        """Open the child run of a trial, which ends as FINISHED, or as FAILED when the block raises."""
        tags = {
            _PARENT_TAG: self.parent.info.run_id,
            SEARCH_TAG: self.search,
            _NUMBER_TAG: str(number),
            _SETTING_TAG: json.dumps(dict(setting), sort_keys=True),
        }
        name = f"{self.name} {number}"
        run_id = str(self.client.create_run(self.parent.info.experiment_id, tags=tags, run_name=name).info.run_id)
        recorder = Recorder(self.client, run_id, self.metric)
        recorder.settings({"model": self.name, **setting})
        try:
            yield recorder
        except BaseException:  # also when the user interrupts: it is raised again
            self.client.set_terminated(run_id, "FAILED")
            raise
        self.client.set_terminated(run_id, "FINISHED")

    def _runs(self) -> list["Run"]:
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.parent.info.experiment_id],
                f"tags.`{SEARCH_TAG}` = '{self.search}'",
                max_results=_PAGE,
                page_token=token,
            )
            runs.extend(page)
            token = page.token
            if not token:
                return runs

    def _close(self, parent: str) -> bool:
        """Return whether an earlier training run did not end well; one that seems to be running was killed."""
        status = self.client.get_run(parent).info.status
        if status == "RUNNING":
            self.client.set_terminated(parent, "KILLED")
        return bool(status != "FINISHED")

    def _trial(self, run: "Run") -> Trial:
        metrics, prefix = run.data.metrics, f"{_fold(self.metric, '')}"
        folds = sorted(int(name.removeprefix(prefix)) for name in metrics if name.startswith(prefix))
        return Trial(
            number=int(run.data.tags[_NUMBER_TAG]),
            setting=json.loads(run.data.tags[_SETTING_TAG]),
            losses=tuple(metrics[_fold(self.metric, fold)] for fold in folds),
            seconds=metrics["seconds"],
            run_id=run.info.run_id,
        )


@dataclass(frozen=True)
class Recorder:
    """Writes what a trial gave into its run."""

    client: "MlflowClient"
    run_id: str
    metric: str

    def settings(self, values: Mapping[str, Value]) -> None:
        """Log the setting as parameters."""
        from mlflow.entities import Param

        self.client.log_batch(self.run_id, params=[Param(name, str(value)) for name, value in values.items()])

    def result(self, trial: Trial) -> None:
        """Log mean, standard error, the loss in each fold and the seconds."""
        from mlflow.entities import Metric

        values: dict[str, float] = {_fold(self.metric, place): loss for place, loss in enumerate(trial.losses)}
        values |= {self.metric: trial.mean, f"{self.metric}_se": trial.standard_error, "seconds": trial.seconds}
        self.client.log_batch(self.run_id, [Metric(name, value, 0, 0) for name, value in values.items()])


def one_standard_error(trials: Sequence[Trial], complexity: Mapping[int, float]) -> Trial:
    """Return the simplest trial whose mean is at most one standard error above the best (Breiman et al. 1984, 3.4.3).

    The error is that of the best. Of equally simple trials the better is taken, of equally good ones the earlier.

    Args:
        trials: at least one.
        complexity: by number of the trial; less is simpler.
    """
    best = best_of(trials)
    bar = best.mean + best.standard_error
    return min(
        (trial for trial in trials if trial.mean <= bar),
        key=lambda trial: (complexity[trial.number], trial.mean, trial.number),
    )


def best_of(trials: Sequence[Trial]) -> Trial:
    """Return the trial with the least mean, the earlier of two."""
    return min(trials, key=lambda trial: (trial.mean, trial.number))


def _fold(metric: str, number: int | str) -> str:
    return f"{metric}_fold_{number}"
