"""A registry of its own for each test: MLflow on SQLite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.core.run import RunConfig
from shared.registry import tracking
from shared.registry.tracking import MlflowClient


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(warehouse=str(tmp_path / "warehouse"))


@pytest.fixture
def client(config: RunConfig) -> Iterator[MlflowClient]:
    yield tracking.connect(config, "things")
    tracking.mlflow.set_tracking_uri(None)
    tracking.mlflow.set_registry_uri(None)
