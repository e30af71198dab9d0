"""A search must find the same for a seed, keep to its budget, and do after a kill only what was left."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
from pyspark.sql import SparkSession

from shared.core.errors import ModelError
from shared.core.run import RunConfig
from shared.registry import tracking
from shared.tuning.config import Budget, TuningConfig
from shared.tuning.search import Search, search
from shared.tuning.space import Parameter, Setting, Space
from shared.tuning.trials import Trial, Trials, one_standard_error

SPACE = Space(
    {"depth": Parameter(low=1, high=8), "penalty": Parameter(low=0.001, high=1.0, log=True, simpler="high")},
    frozenset({"depth"}),
)
START = {"depth": 3, "penalty": 0.5}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tracking.MlflowClient]:
    yield tracking.connect(RunConfig(warehouse=str(tmp_path_factory.mktemp("runs"))), "things")
    tracking.mlflow.set_tracking_uri(None)
    tracking.mlflow.set_registry_uri(None)


def parent(client: tracking.MlflowClient) -> tracking.Run:
    return client.create_run(client.get_experiment_by_name("things").experiment_id)


def children(client: tracking.MlflowClient, run: tracking.Run) -> list[tracking.Run]:
    return client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")


class Loss:
    """A bowl whose bottom is at depth 5 and a penalty of 0.02, in three folds; counts how often it is asked."""

    def __init__(self, fails_at: int = 0, sleeps: Callable[[int], float] = lambda _: 0.0) -> None:
        self.asked: list[Setting] = []
        self.fails_at, self.sleeps, self.lock = fails_at, sleeps, threading.Lock()

    def __call__(self, setting: Setting) -> list[float]:
        with self.lock:
            self.asked.append(setting)
            count = len(self.asked)
        time.sleep(self.sleeps(count))
        if count == self.fails_at:
            raise KeyboardInterrupt
        bowl = 0.01 * (float(setting["depth"]) - 5) ** 2 + 0.02 * math.log10(float(setting["penalty"]) / 0.02) ** 2
        return [0.4 + bowl, 0.42 + bowl, 0.38 + bowl]


@pytest.fixture
def tried(spark: SparkSession, client: tracking.MlflowClient) -> Callable[..., Search]:
    def run(loss: Callable[[Setting], list[float]], name: str | None = None, **options: Any) -> Search:
        limits = {name: options.pop(name) for name in ("max_trials", "deadline") if name in options}
        trials = Trials(client, options.pop("run", None) or parent(client), name or uuid4().hex, "bowl", "loss")
        space = options.pop("space", SPACE)
        tuning = TuningConfig(**{"patience": 0, **options})
        return search(spark, space, loss, trials, start=START, tuning=tuning, seed=7, **limits)

    return run


def told(found: Search) -> list[tuple[int, dict[str, Any], tuple[float, ...]]]:
    return [(trial.number, dict(trial.setting), trial.losses) for trial in found.trials]


def trial(number: int, *losses: float) -> Trial:
    return Trial(number, {}, losses, 1.0, "")


def test_the_chosen_trial_is_the_simplest_within_one_standard_error_of_the_best() -> None:
    best = trial(0, 0.40, 0.42, 0.44)  # mean 0.42, sd 0.02, so its error is 0.02 / sqrt(3) = 0.011547
    within, simple = trial(1, 0.431, 0.431, 0.431), trial(2, 0.4317, 0.4317, 0.4317)

    assert best.mean == pytest.approx(0.42)
    assert best.standard_error == pytest.approx(0.011547, abs=1e-6)
    assert one_standard_error([best, within, simple], {0: 0.9, 1: 0.5, 2: 0.1}).number == 1  # 0.4317 > 0.431547
    assert one_standard_error([best, within, simple], {0: 0.3, 1: 0.5, 2: 0.1}).number == 0
    assert (
        one_standard_error([simple, within, best], {0: 0.5, 1: 0.5, 2: 0.5}).number == 0
    )  # equally simple: the better
    assert one_standard_error([trial(4, 0.4, 0.4), trial(3, 0.4, 0.4)], {3: 0.5, 4: 0.5}).number == 3


@pytest.mark.parametrize("method", ["random", "grid", "optuna"])
def test_each_method_tries_the_configured_setting_first_and_no_setting_twice(
    tried: Callable[..., Search], method: str
) -> None:
    loss = Loss()

    found = tried(loss, method=method, max_trials=8)

    assert found.trials[0].setting == START
    assert len({tuple(sorted(setting.items())) for setting in loss.asked}) == len(loss.asked) == 8
    assert [each.number for each in found.trials] == list(range(8))
    assert all(SPACE.contains(each.setting) for each in found.trials)
    assert found.stopped == "all 8 trials done"
    assert found.best.mean == min(each.mean for each in found.trials)


@pytest.mark.parametrize("method", ["random", "grid"])
def test_random_and_grid_give_the_same_for_a_seed_however_many_run_at_once(
    tried: Callable[..., Search], method: str
) -> None:
    slow_ones_first = Loss(sleeps=lambda count: 0.02 * (count % 3))

    one, four = tried(Loss(), method=method, patience=4), tried(slow_ones_first, method=method, patience=4, parallel=4)

    assert told(one) == told(four)
    assert one.stopped == four.stopped == "nothing gained in 4 trials"
    assert one.chosen.setting == four.chosen.setting


def test_optuna_gives_the_same_for_a_seed_and_a_number_at_once_whichever_is_quicker(
    tried: Callable[..., Search],
) -> None:
    options = {"method": "optuna", "max_trials": 9, "parallel": 3}

    assert told(tried(Loss(), **options)) == told(tried(Loss(sleeps=lambda count: 0.02 * (count % 3)), **options))


def test_optuna_learns_from_what_it_tried(tried: Callable[..., Search]) -> None:
    found = tried(Loss(), method="optuna", max_trials=18)

    early, late = ([each.mean for each in found.trials[part]] for part in (slice(0, 6), slice(12, 18)))
    assert sum(late) / len(late) < sum(early) / len(early)


def test_a_grid_ends_when_every_combination_was_tried(tried: Callable[..., Search]) -> None:
    found = tried(Loss(), method="grid", max_trials=100)

    assert len(found.trials) == 1 + 3 * 3
    assert {each.setting["depth"] for each in found.trials[1:]} == {1, 4, 8}
    assert found.stopped == "no new setting proposed"


def test_a_search_ends_when_nothing_new_is_proposed(tried: Callable[..., Search]) -> None:
    few = Space({"depth": Parameter(low=1, high=3), "penalty": Parameter(choices=(0.1, 0.5))}, frozenset({"depth"}))

    by_chance, by_tpe = (tried(Loss(), method=method, space=few, max_trials=50) for method in ("random", "optuna"))

    assert (len(by_chance.trials), by_chance.stopped) == (6, "no new setting proposed")
    assert (len(by_tpe.trials) in (4, 5, 6), by_tpe.stopped) == (True, "no new setting proposed")


def test_after_the_deadline_no_trial_begins(tried: Callable[..., Search]) -> None:
    assert not tried(Loss(), deadline=time.monotonic()).trials

    found = tried(Loss(sleeps=lambda _: 0.2), deadline=time.monotonic() + 0.5)

    assert 1 <= len(found.trials) <= 3
    assert found.stopped == "time is up"


@pytest.mark.parametrize(("method", "parallel"), [("random", 1), ("optuna", 2), ("grid", 2)])
def test_a_search_that_was_interrupted_does_only_the_rest_and_ends_as_one_that_was_not(
    tried: Callable[..., Search], client: tracking.MlflowClient, method: str, parallel: int
) -> None:
    options = {"name": uuid4().hex, "method": method, "parallel": parallel, "max_trials": 8}
    first, second = parent(client), parent(client)
    interrupted, rest = Loss(fails_at=5), Loss()

    with pytest.raises(KeyboardInterrupt):
        tried(interrupted, run=first, **options)
    finished = [run for run in children(client, first) if run.info.status == "FINISHED"]
    resumed = tried(rest, run=second, **options)

    assert len(finished) in (4, 5)  # the fifth in time failed; one that ran beside it may have ended well
    assert resumed.resumed == len(finished)
    assert len(rest.asked) == 8 - len(finished)
    assert told(resumed) == told(tried(Loss(), method=method, parallel=parallel, max_trials=8))
    assert [run.info.status for run in children(client, second)] == ["FINISHED"] * 8  # moved to the run that uses them
    assert [run.info.status for run in children(client, first)] == ["FAILED"]
    assert client.get_run(first.info.run_id).info.status == "KILLED"


def test_the_time_of_trials_that_are_resumed_counts(
    tried: Callable[..., Search], client: tracking.MlflowClient
) -> None:
    name, run, more = uuid4().hex, parent(client), Loss()
    tried(Loss(), name=name, run=run, method="random", max_trials=3)
    for child in children(client, run):
        client.log_metric(child.info.run_id, "seconds", 1000.0)

    found = tried(more, name=name, method="random", deadline=time.monotonic() + 2500)

    assert (len(found.trials), found.resumed, more.asked) == (3, 3, [])
    assert (found.stopped, found.seconds_before) == ("time is up", 3000)


def test_what_a_run_that_ended_well_has_tried_is_used_and_stays_with_it(
    tried: Callable[..., Search], client: tracking.MlflowClient
) -> None:
    name, first, second, more = uuid4().hex, parent(client), parent(client), Loss()
    tried(Loss(), name=name, run=first, method="random", max_trials=3)
    client.set_terminated(first.info.run_id)

    found = tried(more, name=name, run=second, method="random", max_trials=5)

    assert (found.resumed, len(more.asked)) == (3, 2)
    assert (len(children(client, first)), len(children(client, second))) == (3, 2)


def test_another_search_is_not_taken_for_this_one(tried: Callable[..., Search]) -> None:
    assert tried(Loss(), name="one", max_trials=2).resumed == 0
    assert tried(Loss(), name="other", max_trials=2).resumed == 0


def test_a_child_run_holds_setting_mean_error_folds_and_seconds(
    tried: Callable[..., Search], client: tracking.MlflowClient
) -> None:
    run = parent(client)

    (made,) = tried(Loss(), run=run, max_trials=1).trials

    (child,) = children(client, run)
    assert child.data.params == {"model": "bowl", "depth": "3", "penalty": "0.5"}
    metrics: Mapping[str, float] = child.data.metrics
    assert metrics["loss"] == pytest.approx(sum(made.losses) / 3)
    assert metrics["loss_se"] == pytest.approx(0.02 / math.sqrt(3))
    assert [metrics[f"loss_fold_{place}"] for place in range(3)] == list(made.losses)
    assert metrics["seconds"] >= 0


def test_a_loss_that_is_no_number_ends_the_search(tried: Callable[..., Search], client: tracking.MlflowClient) -> None:
    run = parent(client)

    with pytest.raises(ModelError, match=r"LOSS_NOT_FINITE.*Trial 0 of .*nan"):
        tried(lambda _: [0.4, math.nan], run=run, max_trials=3)

    assert [child.info.status for child in children(client, run)] == ["FAILED"]


def test_searches_share_a_budget_and_what_one_leaves_the_next_may_use() -> None:
    budget = Budget(TuningConfig(max_trials=20, max_minutes=3), 3)

    trials, deadline = budget.share()
    assert (trials, deadline) == (7, pytest.approx(time.monotonic() + 60, abs=5))
    budget.spend(2)
    assert budget.share()[0] == 9
    budget.spend(9)
    assert budget.share() == (9, pytest.approx(time.monotonic() + 180, abs=5))

    resumed = Budget(TuningConfig(max_minutes=3), 2)
    resumed.spend(5, seconds_before=120)
    assert resumed.share() == (None, pytest.approx(time.monotonic() + 60, abs=5))

    assert Budget(TuningConfig(max_minutes=1), 2).share()[0] is None
    assert Budget(TuningConfig(max_trials=1), 2).share() == (1, None)
    assert (TuningConfig().is_on, TuningConfig(max_minutes=1).is_on) == (False, True)
