"""Registered models: one name a vertical, versions, and two aliases.

`challenger` is the newest trained version, `champion` the one that scores; a version's training run is always reachable.
"""

import atexit
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import pyspark
from pyspark.ml import PipelineModel, Transformer
from pyspark.sql import SparkSession

from shared.core.columns import identifier
from shared.core.errors import ModelError
from shared.registry.tracking import MlflowClient, MlflowException, Run, mlflow, reached

CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"

# An alias that is not there is an invalid parameter to MLflow's own stores.
_NOT_FOUND: Final = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Registered:
    """A version of a registered model and the MLflow run that made it."""

    name: str
    version: int
    alias: str
    run: Run

    def as_dict(self) -> dict[str, str | int]:
        """Return name, version and alias, as `run --json` shows them."""
        return {"name": self.name, "version": self.version, "alias": self.alias}


def register(client: MlflowClient, run: Run, name: str, model: PipelineModel) -> Registered:
    """Log ``model`` with the open run, register it as a new version of ``name`` and make it the challenger.

    Args:
        client: from `shared.registry.tracking.connect`.
        run: the open training run.
        name: registered name, the vertical's.
        model: fitted pipeline; its stages must all be Spark's own, so that it loads without this code.

    Raises:
        ModelError: a stage is not Spark's own.
    """
    import mlflow.spark
    from mlflow.models import Model

    identifier(name)
    foreign = [type(stage).__name__ for stage in _stages(model) if not type(stage).__module__.startswith("pyspark.ml")]
    if foreign:
        raise ModelError("STAGE_NOT_BUILT_IN", f"The model holds stages of its own: {foreign}.", "Spark's own stages.")
    with tempfile.TemporaryDirectory() as folder:
        info = Model.log(
            None,  # the artifact path of old; the name has taken its place
            name="model",
            flavor=mlflow.spark,
            spark_model=model,
            dfs_tmpdir=_spark_folder(Path(folder)),
            pip_requirements=[f"pyspark=={pyspark.__version__}"],
        )
    # Registered through the client: the fluent call writes its own lines into the output.
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    made = client.create_model_version(name, info.model_uri, run.info.run_id, model_id=info.model_id)
    version = int(made.version)
    client.set_registered_model_alias(name, CHALLENGER, str(version))
    return Registered(name, version, CHALLENGER, run)


def _stages(model: Transformer) -> list[Transformer]:
    nested = model.stages if isinstance(model, PipelineModel) else []
    return [model, *(each for stage in nested for each in _stages(stage))]


def find(client: MlflowClient, name: str, alias: str) -> Registered:
    """Return the version of ``name`` that ``alias`` points at.

    Raises:
        ModelError: the model or the alias does not exist.
        EnvironmentProblem: MLflow cannot say.
    """
    with reached(client.tracking_uri):
        try:
            version = client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if error.error_code not in _NOT_FOUND:
                raise
            raise ModelError(
                "MODEL_MISSING", f"No model '{name}' with alias '{alias}'.", "", "Run train, then promote."
            ) from error
        return Registered(name, int(version.version), alias, client.get_run(str(version.run_id)))


def load(model: Registered) -> PipelineModel:
    """Return the fitted pipeline of a registered version; a version never changes, so the last few are kept."""
    return _loaded(SparkSession.active(), mlflow.get_registry_uri(), model.name, model.version, model.run.info.run_id)


@lru_cache(maxsize=4)
def _loaded(spark: SparkSession, registry: str, name: str, version: int, run_id: str) -> PipelineModel:
    # A model is of its session, and the registry and the run tell versions of one number apart.
    import mlflow.spark

    # Not the temporary folder of a `with`: Spark reads some stages lazily.
    folder = tempfile.mkdtemp(prefix="model-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    pipeline: PipelineModel = mlflow.spark.load_model(
        f"models:/{name}/{version}", dfs_tmpdir=_spark_folder(Path(folder))
    )
    return pipeline


def _spark_folder(local: Path) -> str | None:
    """Return where Spark puts a model on its way: ``local`` where all of Spark runs on this machine.

    Elsewhere None, which leaves the choice to MLflow: MLFLOW_DFS_TMP, a folder that every machine of the cluster sees.
    """
    master = SparkSession.active().conf.get("spark.master", "") or ""
    # A single machine of Databricks is local too, but may not write into any folder.
    is_told = "MLFLOW_DFS_TMP" in os.environ or "DATABRICKS_RUNTIME_VERSION" in os.environ
    return str(local / "dfs") if runs_here(master) and not is_told else None


def runs_here(master: str) -> bool:
    """Return whether all of Spark runs on this machine.

    >>> [runs_here(master) for master in ("local", "local[*]", "local-cluster[2,1,1024]", "spark://host:7077", "yarn")]
    [True, True, False, False, False]
    """
    return re.fullmatch(r"local(\[[^]]*\])?", master) is not None


def promote(client: MlflowClient, model: Registered) -> Registered:
    """Make ``model`` the champion."""
    client.set_registered_model_alias(model.name, CHAMPION, str(model.version))
    return Registered(model.name, model.version, CHAMPION, model.run)
