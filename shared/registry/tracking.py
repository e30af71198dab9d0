"""MLflow runs: where they are kept, and what a training run records of itself.

Without a tracking server, runs live in an SQLite file inside the warehouse; MLflow's file store is no longer written.
"""

import json
import logging
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from shared.core.config import redacted
from shared.core.errors import EnvironmentProblem, ModelError
from shared.core.references import is_reference, without_logins
from shared.core.run import RunConfig
from shared.core.secrets import resolve

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations inside MLflow's own imports
    import mlflow
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run
    from mlflow.exceptions import MlflowException

__all__ = [
    "MlflowClient",
    "MlflowException",
    "Run",
    "connect",
    "find_run",
    "keep_digests",
    "local_folder",
    "mlflow",
    "reached",
    "tables_of",
    "training_run",
    "write_file",
    "write_json",
    "write_metrics",
]

RUN_ID_TAG = "accelerators.run_id"
_VERSIONS, _DIGESTS = "tables", "table_digests"


class TableRead(NamedTuple):
    """Version and digest of a table that a training run read; the digest is empty in runs of before digests were kept."""

    version: int
    digest: str


def connect(config: RunConfig, experiment: str) -> MlflowClient:
    """Point MLflow at the config's server, or at the SQLite file of the warehouse, and return a client.

    Raises:
        EnvironmentProblem: the store cannot be opened.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # --json prints one object and no more
    logging.getLogger("alembic").setLevel(logging.ERROR)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    folder = local_folder(config)
    uri = config.tracking_uri or f"sqlite:///{folder / 'mlflow.db'}"
    if is_reference(uri):
        uri = resolve(uri).reveal()
    with reached(uri):
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        client = MlflowClient()
        if client.get_experiment_by_name(experiment) is None:
            location = None if config.tracking_uri else (folder / "mlartifacts").as_uri()
            client.create_experiment(experiment, artifact_location=location)
        mlflow.set_experiment(experiment)
    return client


@contextmanager
def reached(uri: str | None = None) -> Iterator[None]:
    """Say that MLflow at ``uri``, by default where it points to, cannot be used when it raises inside.

    Raises:
        EnvironmentProblem: it did.
    """
    try:
        yield
    except MlflowException as error:
        raise EnvironmentProblem(
            "TRACKING_UNAVAILABLE",
            without_logins(f"MLflow at {uri or mlflow.get_tracking_uri()}: {error.message}."),
            "",
            "Check tracking_uri.",
        ) from error


def local_folder(config: RunConfig) -> Path:
    """Return the local folder for what is not a table: the warehouse itself, or `warehouse/` beside a remote one."""
    root = config.warehouse.removeprefix("file://")
    is_remote = "://" in root or root.startswith(("catalog:", "dbfs:"))
    folder = Path("warehouse" if is_remote else root).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def training_run(config: RunConfig, run_id: str, tables: Mapping[str, int]) -> Iterator[Run]:
    """Open a run that records the config, the seed and the versions of the tables it reads.

    Raises:
        EnvironmentProblem: MLflow cannot keep it, or something that is written inside.
    """
    tags = {RUN_ID_TAG: run_id, _VERSIONS: json.dumps(dict(tables), sort_keys=True)}
    with reached(), mlflow.start_run(run_name=run_id, tags=tags) as run:
        mlflow.log_dict(redacted(config), "config.json")
        mlflow.log_params({"seed": config.seed, "source": without_logins(config.source or "generator")})
        yield run


def tables_of(run: Run) -> dict[str, TableRead]:
    """Return the tables that a training run read, by name."""
    versions, digests = (json.loads(run.data.tags.get(tag, "{}")) for tag in (_VERSIONS, _DIGESTS))
    return {name: TableRead(int(version), digests.get(name, "")) for name, version in versions.items()}


@reached()
def keep_digests(run: Run, digests: Mapping[str, str]) -> None:
    """Record with the run what was in the tables it read: name → digest."""
    MlflowClient().set_tag(run.info.run_id, _DIGESTS, json.dumps(dict(digests), sort_keys=True))


@reached()
def find_run(client: MlflowClient, experiment: str, run_id: str) -> Run:
    """Return the MLflow run that the product's ``run_id`` made.

    Raises:
        ModelError: there is none.
    """
    is_id = re.fullmatch(r"[\w.:-]+", run_id)  # it goes into the text of a query
    found = client.get_experiment_by_name(experiment) if is_id else None
    runs = client.search_runs([found.experiment_id], f"tags.`{RUN_ID_TAG}` = '{run_id}'") if found else []
    if not runs:
        raise ModelError("RUN_UNKNOWN", f"No training run {run_id} in experiment '{experiment}'.", "", "Train first.")
    return runs[0]


@reached()
def write_file(run: Run, file: Path) -> None:
    """Store a local file with the run, under its own name."""
    MlflowClient().log_artifact(run.info.run_id, str(file))


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """Write ``document`` to a local file, which gets the folders it needs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, default=str, indent=1, sort_keys=True), encoding="utf-8")


@reached()
def write_metrics(run: Run, prefix: str, metrics: Mapping[str, float]) -> None:
    """Log ``metrics`` as ``<prefix>_<name>`` with the run, which may have ended, so that MLflow compares them."""
    client, now = MlflowClient(), int(time.time() * 1000)
    client.log_batch(
        run.info.run_id, [Metric(f"{prefix}_{name}", float(value), now, 0) for name, value in metrics.items()]
    )
