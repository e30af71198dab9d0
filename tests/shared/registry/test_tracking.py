"""A run must keep what it was given, and a store that cannot be reached must be named."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.core.errors import EnvironmentProblem
from shared.core.run import RunConfig
from shared.registry import models, tracking


class Config(RunConfig):
    api_key: str = ""


@pytest.fixture(autouse=True)
def _own_store() -> Iterator[None]:
    yield
    tracking.mlflow.set_tracking_uri(None)
    tracking.mlflow.set_registry_uri(None)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a server that does not run; MLflow is told to ask once."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


def test_a_server_that_does_not_answer_is_named(nowhere: str, tmp_path: Path) -> None:
    config = RunConfig(warehouse=str(tmp_path), tracking_uri=nowhere)

    with pytest.raises(EnvironmentProblem, match=rf"TRACKING_UNAVAILABLE\] MLflow at {nowhere}: .*Check tracking_uri"):
        tracking.connect(config, "things")


def test_a_server_that_dies_is_named_whatever_was_to_be_written(nowhere: str, tmp_path: Path) -> None:
    tracking.mlflow.set_tracking_uri(nowhere.replace("//", "//ada:hunter2@"))
    config = RunConfig(warehouse=str(tmp_path))

    with (
        pytest.raises(EnvironmentProblem, match="TRACKING_UNAVAILABLE") as error,
        tracking.training_run(config, "r", {}),
    ):
        pytest.fail("the run was opened")

    assert "hunter2" not in str(error.value)


def test_a_model_is_not_called_missing_when_nobody_can_say(nowhere: str) -> None:
    client = tracking.MlflowClient(nowhere, nowhere)

    with pytest.raises(EnvironmentProblem, match="TRACKING_UNAVAILABLE"):
        models.find(client, "things", models.CHAMPION)


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_runs_are_kept_in_a_local_warehouse_however_it_is_written(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert tracking.local_folder(RunConfig(warehouse=f"{prefix}{tmp_path}/house")) == tmp_path / "house"


@pytest.mark.parametrize("warehouse", ["s3a://bucket/house", "catalog:main.churn", "dbfs:/house"])
def test_runs_of_a_remote_warehouse_are_kept_beside_the_caller(
    warehouse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert tracking.local_folder(RunConfig(warehouse=warehouse)) == tmp_path / "warehouse"


def test_metrics_can_be_added_to_a_run_that_has_ended(tmp_path: Path) -> None:
    config = RunConfig(warehouse=str(tmp_path))
    client = tracking.connect(config, "things")
    with tracking.training_run(config, "one", {"gold_x": 3}):
        tracking.mlflow.log_metrics({"validation_auc": 0.75})

    tracking.write_metrics(tracking.find_run(client, "things", "one"), "test", {"auc": 0.8, "rows": 120})

    found = tracking.find_run(client, "things", "one").data.metrics
    assert found == {"validation_auc": 0.75, "test_auc": 0.8, "test_rows": 120.0}


def test_the_config_of_a_run_holds_no_secret(tmp_path: Path) -> None:
    config = Config(warehouse=str(tmp_path), api_key="hunter2")
    tracking.connect(config, "things")

    with tracking.training_run(config, "run-1", {"gold_x": 3}) as run:
        pass

    stored = tracking.mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/config.json")
    assert (stored["api_key"], stored["warehouse"]) == ("******", str(tmp_path))


def test_the_address_of_the_tracking_server_may_be_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_TRACKING", f"sqlite:///{tmp_path / 'runs.db'}")

    tracking.connect(RunConfig(warehouse=str(tmp_path / "w"), tracking_uri="env:TEST_TRACKING"), "things")

    assert (tmp_path / "runs.db").is_file()
