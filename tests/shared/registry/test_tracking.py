"""What a run records of its config must be fit to be shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.core.run import RunConfig
from shared.registry import tracking


class Config(RunConfig):
    api_key: str = ""


@pytest.fixture(autouse=True)
def _elsewhere() -> Iterator[None]:
    yield
    tracking.mlflow.set_tracking_uri(None)
    tracking.mlflow.set_registry_uri(None)


def test_the_config_of_a_run_holds_no_secret(tmp_path: Path) -> None:
    config = Config(warehouse=str(tmp_path), api_key="hunter2")
    tracking.connect(config, "things")

    with tracking.training_run(config, "run-1", {"gold_x": 3}) as run:
        pass

    stored = tracking.read_document(run, "config")
    assert (stored["api_key"], stored["warehouse"]) == ("******", str(tmp_path))


def test_the_address_of_the_tracking_server_may_be_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_TRACKING", f"sqlite:///{tmp_path / 'runs.db'}")

    tracking.connect(RunConfig(warehouse=str(tmp_path / "w"), tracking_uri="env:TEST_TRACKING"), "things")

    assert (tmp_path / "runs.db").is_file()
