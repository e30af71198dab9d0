"""Saving and loading a pipeline on Spark Connect, where MLflow's own way is closed: it copies files through the JVM.

The layout is that of `mlflow.spark`, so either loads what the other saved. Both functions may stand in for its own.
"""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pyspark
from pyspark.errors import PySparkException
from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession

from shared.core.errors import EnvironmentProblem
from shared.core.session import driver_context, on_databricks
from shared.registry.tracking import mlflow

_PIPELINE = "sparkml"


def flavor() -> ModuleType:
    """Return the module that saves and loads pipelines on the active session: `mlflow.spark` or this one."""
    from mlflow import spark as its_own

    # On Databricks MLflow goes through a volume, on Connect too.
    needs_own = driver_context(SparkSession.active()) is None and not on_databricks()
    return sys.modules[__name__] if needs_own else its_own


def save_model(
    spark_model: PipelineModel,
    path: str,
    mlflow_model: Any,
    dfs_tmpdir: str | None = None,
    signature: Any = None,
    pip_requirements: Sequence[str] = (),
) -> None:
    """Save ``spark_model`` and MLflow's description of it in the folder ``path``.

    Args:
        spark_model: the fitted pipeline.
        path: folder of this machine.
        mlflow_model: the `mlflow.models.Model` to complete.
        dfs_tmpdir: folder that Spark's server and this process both see under this name; MLFLOW_DFS_TMP without.
        signature: of MLflow; None leaves it out.
        pip_requirements: written beside the model.

    Raises:
        EnvironmentProblem: the server's files are not to be seen here.
    """
    folder, shared = Path(path), _scratch(dfs_tmpdir)
    spark_model.save(str(shared))
    if not (shared / "metadata").is_dir():
        raise _unshared(shared)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(shared, folder / _PIPELINE)  # the server's files may be another user's, who removes them
    shutil.rmtree(shared, ignore_errors=True)
    mlflow_model.signature = signature
    mlflow_model.add_flavor(
        "spark",
        pyspark_version=pyspark.__version__,
        model_data=_PIPELINE,
        code=None,
        model_class=f"{PipelineModel.__module__}.{PipelineModel.__name__}",
    )
    mlflow.pyfunc.add_to_model(mlflow_model, loader_module="mlflow.spark", data=_PIPELINE)
    mlflow_model.save(str(folder / "MLmodel"))
    (folder / "requirements.txt").write_text("".join(f"{each}\n" for each in pip_requirements))


def load_model(model_uri: str, dfs_tmpdir: str | None = None) -> PipelineModel:
    """Return the pipeline of the logged model at ``model_uri``, a folder or an address that MLflow knows.

    Raises:
        EnvironmentProblem: the server does not see the files.
    """
    shared = _scratch(dfs_tmpdir)
    atexit.register(shutil.rmtree, shared, ignore_errors=True)  # not before: Spark reads some stages lazily
    shutil.copytree(Path(mlflow.artifacts.download_artifacts(model_uri)) / _PIPELINE, shared)
    try:
        return PipelineModel.load(str(shared))
    except PySparkException as error:
        if "PATH_NOT_FOUND" in str(error) or "does not exist" in str(error):
            raise _unshared(shared) from error
        raise


def _scratch(folder: str | None) -> Path:
    seen_by_both = folder or os.environ.get("MLFLOW_DFS_TMP") or tempfile.gettempdir()
    return Path(seen_by_both.removeprefix("file://").removeprefix("file:"), uuid4().hex)


def _unshared(folder: Path) -> EnvironmentProblem:
    return EnvironmentProblem(
        "MODEL_FOLDER_UNSHARED",
        f"Spark's server and this process do not see the same files in {folder.parent}.",
        "A folder that both see under one name, such as a mounted volume.",
        "Name it in MLFLOW_DFS_TMP.",
    )
