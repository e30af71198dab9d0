"""A registered model must be found by its alias and be the model that was fitted."""

from importlib import metadata
from pathlib import Path

import pytest
from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import DataFrame, SparkSession

from shared.core.errors import ModelError
from shared.core.run import RunConfig
from shared.registry import models, tracking, versions
from shared.registry.tracking import MlflowClient


class OwnStage(Transformer):
    def _transform(self, dataset: DataFrame) -> DataFrame:
        return dataset


def plus(amount: int) -> PipelineModel:
    return PipelineModel([SQLTransformer(statement=f"SELECT *, id + {amount} AS y FROM __THIS__")])


def register(client: MlflowClient, config: RunConfig, run_id: str, model: PipelineModel) -> models.Registered:
    with tracking.training_run(config, run_id, {"gold_x": 3}) as run:
        return models.register(client, run, "things", model)


def test_the_newest_version_is_the_challenger_and_only_a_promotion_makes_the_champion(
    spark: SparkSession, client: MlflowClient, config: RunConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    first = register(client, config, "one", plus(1))
    versions.point(client, "things", models.CHAMPION, first.version)
    second = register(client, config, "two", plus(2))

    assert (first.version, second.version) == (1, 2)
    champion = models.find(client, "things", models.CHAMPION)
    challenger = models.find(client, "things", models.CHALLENGER)
    assert champion.as_dict() == {"name": "things", "version": 1, "alias": "champion"}
    assert challenger.version == 2
    assert models.load(champion).transform(spark.range(1)).first()["y"] == 1
    assert models.load(challenger).transform(spark.range(1)).first()["y"] == 2
    assert "registered" not in capfd.readouterr().err


def test_what_a_model_needs_is_told_where_spark_is_no_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = [f"{name}=={metadata.version(name)}" for name in ("pyspark", "mlflow", "numpy", "pandas", "pyarrow")]

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert models.requirements() == installed


def test_a_version_is_loaded_once_and_never_taken_for_one_of_the_same_number(
    spark: SparkSession, client: MlflowClient, config: RunConfig
) -> None:
    first = register(client, config, "one", plus(1))
    loaded = models.load(first)
    client.delete_registered_model("things")
    second = register(client, config, "two", plus(2))

    assert models.load(first) is loaded
    assert second.version == first.version
    assert models.load(second).transform(spark.range(1)).first()["y"] == 2


def test_a_model_goes_through_the_folder_that_the_environment_names(
    spark: SparkSession,
    client: MlflowClient,
    config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "seen_by_all"
    monkeypatch.setenv("MLFLOW_DFS_TMP", str(folder))

    registered = register(client, config, "one", plus(1))

    assert folder.is_dir()
    assert models.load(registered).transform(spark.range(1)).first()["y"] == 1


def test_a_version_leads_to_its_run_its_tables_and_its_settings(client: MlflowClient, config: RunConfig) -> None:
    registered = register(client, config, "one", plus(1))
    found = models.find(client, "things", models.CHALLENGER).run

    assert tracking.find_run(client, "things", "one").info.run_id == found.info.run_id
    assert found.data.tags["tables"] == '{"gold_x": 3}'
    assert (
        tracking.mlflow.artifacts.load_dict(f"{found.info.artifact_uri}/config.json")["warehouse"] == config.warehouse
    )
    assert versions.made_by(client, "things", found) == registered


def test_a_stage_that_is_not_sparks_own_is_refused(client: MlflowClient, config: RunConfig) -> None:
    with pytest.raises(ModelError, match=r"STAGE_NOT_BUILT_IN.*OwnStage"):
        register(client, config, "one", PipelineModel([PipelineModel([OwnStage()])]))

    assert client.search_model_versions("name = 'things'") == []


def test_what_is_not_there_is_named(client: MlflowClient, config: RunConfig) -> None:
    with pytest.raises(ModelError, match="MODEL_MISSING"):
        models.find(client, "things", models.CHAMPION)
    for run_id in ("never", "it's"):
        with pytest.raises(ModelError, match="RUN_UNKNOWN"):
            tracking.find_run(client, "things", run_id)
    with tracking.training_run(config, "none", {}) as run:
        pass
    with pytest.raises(ModelError, match="MODEL_MISSING"):
        versions.made_by(client, "things", run)
