"""Settings are searched on folds of training rows, and what is found is what is trained, kept and shown."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.ml import Transformer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn.algorithms import tuning
from churn.config import SEARCHED, ChurnConfig, ModelConfig, layers, space_of
from churn.features import FEATURES
from churn.train import _prepared, folds_of
from shared.core.errors import ConfigError, DataError
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.registry import documents, tracking
from shared.registry.versions import CHALLENGER, find, made_by
from shared.tuning.space import Parameter
from tests.churn.conftest import QUICK, Churn, Runs
from tests.churn.test_report import shown

SPACE = "--set=tuning.space={logistic_penalty: [0.001, 0.01, 0.1], knots: {low: 1, high: 3}}"
SEARCH = (*QUICK, "--set=tuning.folds=2", "--set=tuning.method=grid", SPACE, "--seed=7")


def runs_of(client: tracking.MlflowClient, parent: str) -> list[str]:
    """States of the trials of a training run."""
    experiment = client.get_experiment_by_name("churn").experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    return [run.info.status for run in found]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("forest_dept: [2, 4]", "Did you mean 'forest_depth'"),
        ("positive_weight: [1, 2]", "Choose from"),  # it changes what the loss means
        ("forest_depth: [2, 40]", "tuning.space.forest_depth.*40"),
        ("forest_depth: {low: 2.5, high: 4}", "tuning.space.forest_depth.*2.5"),
    ],
)
def test_a_space_that_the_model_does_not_have_is_refused(setting: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"SPACE_INVALID.*{says}"):
        ChurnConfig.load(f"tuning: {{space: {{{setting}}}}}")


def test_a_setting_of_a_candidate_that_is_not_trained_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"SPACE_INVALID.*'forest_depth'"):
        ChurnConfig.load(*layers(None), "tuning: {space: {forest_depth: [2, 4]}}")


def test_every_default_range_is_within_what_the_settings_take_and_holds_the_default() -> None:
    for name, parameters in SEARCHED.items():
        space = space_of(name, ModelConfig(candidates=(name,)), {})
        assert space.parameters == parameters
        assert space.contains({setting: getattr(ModelConfig(), setting) for setting in parameters})
        assert all(parameter.choices or parameter.points >= 2 for parameter in parameters.values())


def test_what_two_candidates_share_is_searched_with_the_first_of_them() -> None:
    model, own = ModelConfig(), {"tree_leaf": Parameter(low=2, high=9)}

    assert [list(space_of(name, model, own).parameters) for name in ("logistic", "forest", "boosted")] == [
        [],
        ["tree_leaf"],
        [],
    ]
    assert space_of("forest", model, own).parameters["tree_leaf"].simpler == "high"  # as the default says
    alone = ModelConfig(candidates=("logistic", "boosted"))
    assert "tree_leaf" in space_of("boosted", alone, {}).parameters


@pytest.fixture
def training_rows(spark: SparkSession, small_run: dict[str, Any]) -> Iterator[DataFrame]:
    rows = read(spark, Warehouse(small_run["warehouse"]).table(FEATURES)).where("split = 'train'").cache()
    yield rows
    rows.unpersist()


def test_folds_of_event_logs_go_forward_in_time_and_a_planted_leak_is_refused(
    training_rows: DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ChurnConfig(tuning={"folds": 2})
    folds = folds_of(training_rows, config)
    assert len(folds) == 2
    leaking = [type(fold)(fold.name, training_rows, fold.held_out) for fold in folds]
    monkeypatch.setattr("churn.train.folding.by_time", lambda *_: leaking)

    with pytest.raises(DataError, match="LEAK_TIME_OVERLAP"):
        folds_of(training_rows, config)


@pytest.mark.slow
def test_the_preparation_of_a_fold_sees_its_training_rows_alone_and_is_made_once_for_trials_that_share_it(
    spark: SparkSession, training_rows: DataFrame
) -> None:
    folds = folds_of(training_rows, ChurnConfig(tuning={"folds": 2}))
    seen: list[int] = []

    def prepare(rows: DataFrame, model: ModelConfig) -> list[Transformer]:
        seen.append(rows.count())
        return _prepared(rows, model)[2]

    prepared = tuning.Prepared(folds, prepare, seed=7)
    model = ModelConfig(candidates=("logistic",))
    found = [
        tuning.losses(spark, prepared, "logistic", model, {"logistic_penalty": penalty}) for penalty in (0.001, 10.0)
    ]
    prepared.forget()

    assert sorted(seen) == sorted(fold.train.count() for fold in folds)
    assert [len(losses) for losses in found] == [2, 2]
    rate = folds[1].held_out.agg(F.avg("label")).collect()[0][0]
    assert 0 < found[0][1] < found[1][1] < 2 * rate + 0.3  # the heavy penalty all but leaves the rate


@pytest.mark.slow
def test_a_search_is_kept_trained_reproduced_and_shown_and_a_second_one_does_only_the_rest(
    churn: Churn, run_once: Runs
) -> None:
    done = run_once("tuned", "--set=sample.customers=500", *SEARCH, "--set=tuning.max_trials=3")
    config = ChurnConfig(warehouse=done["warehouse"])
    client = tracking.connect(config, "churn")
    run = tracking.find_run(client, "churn", done["run_id"])
    model = made_by(client, "churn", run)
    step = next(step for step in done["steps"] if step["step"] == "train")
    document, recorded = documents.logged(model, "tuning"), documents.logged(model, "config")
    (search,) = document["searches"].values()

    assert (step["trials"], step["trials_resumed"]) == (3, 0)
    assert step["search_ended"] == "logistic: all 3 trials done"
    assert runs_of(client, run.info.run_id) == ["FINISHED"] * 3
    chosen = search["trials"][search["chosen"]]["setting"]
    assert {name: recorded["model"][name] for name in chosen} == chosen
    assert search["trials"][0]["setting"] == {"logistic_penalty": 0.002, "knots": 5}
    assert "Settings tried, on folds of the training rows" in shown(done)

    again = churn("reproduce", done["run_id"], "--json", "--warehouse", done["warehouse"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["steps"][0]["metrics_equal"] > 5
    more = churn("train", "--json", "--warehouse", done["warehouse"], *SEARCH, "--set=tuning.max_trials=5")
    assert more.exit_code == 0, more.output
    step = json.loads(more.stdout)["steps"][0]
    assert (step["trials"], step["trials_resumed"]) == (5, 3)


@pytest.mark.slow
def test_a_search_that_was_killed_is_resumed_by_the_same_command(small_run: dict[str, Any], tmp_path: Path) -> None:
    warehouse = str(shutil.copytree(small_run["warehouse"], tmp_path / "warehouse"))
    client = tracking.connect(ChurnConfig(warehouse=warehouse), "churn")
    command = [sys.executable, "-m", "churn", "train", "--json", "--warehouse", warehouse, *SEARCH]
    command.append("--set=tuning.max_trials=4")
    before = {run.info.run_id for run in trained(client)}

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and len(finished(client, before)) < 2:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)  # Python and the JVM it started
    code, were_finished = process.wait(), len(finished(client, before))
    again = subprocess.run(command, capture_output=True, text=True, check=False)

    assert code == -signal.SIGKILL
    assert again.returncode == 0, again.stderr
    step = json.loads(again.stdout)["steps"][0]
    assert (step["trials"], step["trials_resumed"]) == (4, were_finished)
    killed, resumed = sorted(
        (run for run in trained(client) if run.info.run_id not in before), key=lambda run: run.info.start_time
    )
    assert (killed.info.status, resumed.info.status) == ("KILLED", "FINISHED")
    assert runs_of(client, resumed.info.run_id) == ["FINISHED"] * 4
    assert set(runs_of(client, killed.info.run_id)) <= {"KILLED"}


def trained(client: tracking.MlflowClient) -> list[tracking.Run]:
    experiment = client.get_experiment_by_name("churn").experiment_id
    return [run for run in client.search_runs([experiment]) if tracking.RUN_ID_TAG in run.data.tags]


def finished(client: tracking.MlflowClient, before: set[str]) -> list[str]:
    """Trials that ended well, of training runs that began since."""
    parents = [run.info.run_id for run in trained(client) if run.info.run_id not in before]
    return [state for parent in parents for state in runs_of(client, parent) if state == "FINISHED"]


@pytest.mark.slow
@pytest.mark.realdata
def test_telco_is_searched_within_a_small_budget(churn: Churn, real_data: Path, tmp_path: Path) -> None:
    source = ("--source", real_data / "churn/telco_ibm", "--warehouse", tmp_path)
    budget = ("--set=tuning.max_trials=3", "--set=tuning.folds=3", "--set=model.candidates=[logistic]")

    result = churn("run", *source, "--set=bootstrap_replicates=20", *budget, "--json")

    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    step = next(step for step in outcome["steps"] if step["step"] == "train")
    assert step["trials"] == 3
    assert outcome["metrics"]["test"]["auc"] > 0.80
    config = ChurnConfig(warehouse=str(tmp_path))
    model = find(tracking.connect(config, "churn"), "churn", CHALLENGER)
    (search,) = documents.logged(model, "tuning")["searches"].values()
    assert all(0.35 < trial["mean"] < 0.5 for trial in search["trials"])
