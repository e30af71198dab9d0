"""Registered pipelines: logged with all that is to be known of them, and loaded only when nothing of it has changed."""

import os
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from pyspark.ml import PipelineModel, Transformer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ModelError
from shared.registry import files, on_connect, stages
from shared.registry.tracking import MlflowClient, Run, mlflow, write_json
from shared.registry.versions import CHALLENGER as CHALLENGER
from shared.registry.versions import CHAMPION as CHAMPION
from shared.registry.versions import PREVIOUS as PREVIOUS
from shared.registry.versions import Registered as Registered
from shared.registry.versions import check_name, point
from shared.registry.versions import find as find

_PINNED: Final = ("pyspark", "mlflow", "numpy", "pandas", "pyarrow")


def register(
    client: MlflowClient,
    run: Run,
    name: str,
    model: PipelineModel,
    *,
    inputs: DataFrame | None = None,
    documents: Mapping[str, Mapping[str, Any]] | None = None,
    derive: Callable[[Path], None] | None = None,
) -> Registered:
    """Log ``model`` with the open run, register it as a new version of ``name`` and make it the challenger.

    The logged model holds the pipeline (``sparkml/``), MLflow's description of it with pinned requirements and the
    signature, ``documents/*.json``, what ``derive`` made of it, and a manifest of all files.

    Args:
        client: from `shared.registry.tracking.connect`.
        run: the open training run.
        name: registered name, the vertical's.
        model: fitted pipeline; its stages must all be Spark's own, so that it loads without this code.
        inputs: rows with the columns the model reads and no others, for the signature; none are read.
        documents: what else is to be known of the model: the config, the tables with version and digest.
        derive: given the folder, adds what is made from the saved pipeline, such as its export.

    Raises:
        ModelError: a stage is not Spark's own, or ``derive`` refuses it.
        EnvironmentProblem: MLflow cannot store it.
    """
    check_name(name)
    foreign = [type(stage).__name__ for stage in _stages(model) if not type(stage).__module__.startswith("pyspark.ml")]
    if foreign:
        raise ModelError("STAGE_NOT_BUILT_IN", f"The model holds stages of its own: {foreign}.", "Spark's own stages.")
    logged = client.create_logged_model(run.info.experiment_id, name="model", source_run_id=run.info.run_id)
    with tempfile.TemporaryDirectory() as private:
        folder = Path(private, "model")
        _save(model, folder, run.info.run_id, logged.model_id, inputs)
        for title, document in (documents or {}).items():
            write_json(folder / files.DOCUMENTS / f"{title}.json", document)
        stages.check(folder)
        if derive is not None:
            derive(folder)
        manifest = files.write_manifest(folder)
        client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    # Registered through the client: the fluent call writes its own lines into the output.
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    made = client.create_model_version(
        name, logged.model_uri, run.info.run_id, model_id=logged.model_id, tags={files.MANIFEST_TAG: manifest}
    )
    version = int(made.version)
    point(client, name, CHALLENGER, version)
    return Registered(name, version, CHALLENGER, run)


def _save(model: PipelineModel, folder: Path, run_id: str, model_id: str, inputs: DataFrame | None) -> None:
    from mlflow.models import Model

    on_connect.flavor().save_model(
        model,
        str(folder),
        mlflow_model=Model(run_id=run_id, model_uuid=model_id, model_id=model_id),
        dfs_tmpdir=_spark_folder(folder.parent),
        signature=None if inputs is None else _signature(inputs),
        pip_requirements=requirements(),  # without them MLflow starts another Spark to find out
    )


def requirements() -> list[str]:
    """Return the packages that a model needs to be loaded, pinned to what runs now.

    Asked of the modules: in Spark's own image and on some platforms pyspark is no installed package.
    """
    return [f"{package}=={import_module(package).__version__}" for package in _PINNED]


def _signature(inputs: DataFrame) -> Any:
    """Return the columns of ``inputs`` with their types, and the probability that comes out."""
    from mlflow.models import infer_signature

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that integers cannot be missing, which is true of pandas
        return infer_signature(inputs, inputs.select(F.lit(0.5).alias("probability")))


def _stages(model: Transformer) -> list[Transformer]:
    nested = model.stages if isinstance(model, PipelineModel) else []
    return [model, *(each for stage in nested for each in _stages(stage))]


def load(model: Registered) -> PipelineModel:
    """Return the fitted pipeline of a registered version, its files and stages checked first; the last few are kept.

    Raises:
        ModelError: MODEL_TAMPERED, MODEL_UNVERIFIED, as `shared.registry.files.fetch`; STAGE_NOT_ALLOWED, as
            `shared.registry.stages.check`.
        EnvironmentProblem: the registry cannot be read.
    """
    return _loaded(SparkSession.active(), mlflow.get_registry_uri(), model.run.info.run_id, model)


@lru_cache(maxsize=4)
def _loaded(spark: SparkSession, registry: str, run_id: str, model: Registered) -> PipelineModel:
    # A model is of its session, and the registry and the run tell versions of one number apart.
    # Of the process and not of a `with`: Spark reads some stages lazily.
    folder = files.fetch(model)
    stages.check(folder)
    pipeline: PipelineModel = on_connect.flavor().load_model(str(folder), dfs_tmpdir=_spark_folder(folder.parent))
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
