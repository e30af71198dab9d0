"""What MLflow's own functions save, those for Connect load, and the other way round, on any session."""

import atexit
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mlflow.spark
import pytest
from mlflow.models import Model
from pyspark.ml import PipelineModel
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import SparkSession

from shared.core.errors import EnvironmentProblem
from shared.registry import on_connect


@pytest.fixture
def plus_one() -> PipelineModel:
    return PipelineModel([SQLTransformer(statement="SELECT *, id + 1 AS y FROM __THIS__")])


def test_a_classic_session_leaves_models_to_mlflow(spark: SparkSession) -> None:
    assert on_connect.flavor() is mlflow.spark


def test_either_loads_what_the_other_saved(spark: SparkSession, plus_one: PipelineModel, tmp_path: Path) -> None:
    ours, its = str(tmp_path / "ours"), str(tmp_path / "its")
    requirements = ["pyspark==4.2.0"]
    on_connect.save_model(plus_one, ours, Model(), str(tmp_path / "a"), pip_requirements=requirements)
    mlflow.spark.save_model(plus_one, its, dfs_tmpdir=str(tmp_path / "b"), pip_requirements=requirements)

    assert on_connect.load_model(its, str(tmp_path / "c")).transform(spark.range(1)).first()["y"] == 1
    assert mlflow.spark.load_model(ours, dfs_tmpdir=str(tmp_path / "d")).transform(spark.range(1)).first()["y"] == 1
    assert {path.name for path in Path(ours).iterdir()} <= {path.name for path in Path(its).iterdir()}
    assert Model.load(ours).flavors["spark"] == Model.load(its).flavors["spark"]
    assert "pyspark==4.2.0" in (Path(ours) / "requirements.txt").read_text().split()
    assert list((tmp_path / "a").iterdir()) == []  # nothing is left on the way


def test_what_is_loaded_is_on_the_way_until_the_process_ends(
    spark: SparkSession, plus_one: PipelineModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(
        atexit, "register", lambda call, *given, **named: at_exit.append(partial(call, *given, **named))
    )
    on_connect.save_model(plus_one, str(tmp_path / "model"), Model(), str(tmp_path / "a"))

    on_connect.load_model(str(tmp_path / "model"), str(tmp_path / "b"))

    assert len(list((tmp_path / "b").iterdir())) == 1
    for call in at_exit:
        call()
    assert list((tmp_path / "b").iterdir()) == []


def test_a_folder_that_the_server_does_not_share_is_named(
    spark: SparkSession, plus_one: PipelineModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a server elsewhere writes is not to be seen here: let it write elsewhere.
    monkeypatch.setattr(type(plus_one), "save", lambda self, path: self.write().save(f"{path}-elsewhere"))

    with pytest.raises(EnvironmentProblem, match=r"MODEL_FOLDER_UNSHARED.*MLFLOW_DFS_TMP"):
        on_connect.save_model(plus_one, str(tmp_path / "m"), Model(), str(tmp_path / "scratch"))
