"""What is written of a registered version: with it, as part of its files, or later, such as its evaluation.

The sha256 of each is a tag of the version, that of the files by way of their manifest. So whoever can write where artifacts
lie, but not in the registry, can neither change a document nor put that of another model in its place. Loads no Spark.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.core.errors import ModelError
from shared.registry import files, tracking
from shared.registry.tracking import MlflowClient
from shared.registry.versions import Registered, check_name


def logged(model: Registered, name: str) -> dict[str, Any]:
    """Return the document ``name`` that was logged with the files of the model.

    Raises:
        ModelError: DOCUMENT_MISSING when there is none; as `shared.registry.files.fetched`.
        EnvironmentProblem: the registry or its artifacts cannot be read.
    """
    with files.fetched(model, files.DOCUMENTS) as folder:
        file = folder / f"{check_name(name)}.json"
        if not file.is_file():
            raise _missing(model, name, "Train again with this code.")
        found: dict[str, Any] = json.loads(file.read_bytes())
        return found


def add(model: Registered, name: str, document: Mapping[str, Any]) -> None:
    """Store ``document`` as ``name``.json with the run that made the model, in place of an earlier one.

    Raises:
        EnvironmentProblem: MLflow cannot store it.
    """
    text = json.dumps(document, default=str, indent=1, sort_keys=True)
    with tracking.reached():
        MlflowClient().log_text(model.run.info.run_id, text, f"{check_name(name)}.json")
    _sign(model, name, text.encode())


def add_file(model: Registered, file: Path) -> None:
    """Store a local file with the run that made the model, under its own name; as `add`."""
    tracking.write_file(model.run, file)
    _sign(model, check_name(file.stem), file.read_bytes())


def added(model: Registered, name: str) -> dict[str, Any]:
    """Return the document ``name`` that `add` stored last.

    Raises:
        ModelError: DOCUMENT_MISSING when none was added to this version; DOCUMENT_CHANGED when what lies there is not it.
        EnvironmentProblem: the registry or its artifacts cannot be read.
    """
    with tracking.reached():
        version = MlflowClient().get_model_version(model.name, str(model.version))
    expected = version.tags.get(_tag(name))
    if expected is None:
        raise _missing(model, name, "Run evaluate first.")
    text = tracking.read_text(model.run, name)
    if hashlib.sha256(text.encode()).hexdigest() != expected:
        raise ModelError(
            "DOCUMENT_CHANGED",
            f"{name} of version {model.version} of {model.name} is not what was written.",
            f"A file with the sha256 in the version's tag {_tag(name)}.",
            "Find out who changed it; evaluate or monitor again.",
        )
    found: dict[str, Any] = json.loads(text)
    return found


def _sign(model: Registered, name: str, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    with tracking.reached():
        MlflowClient().set_model_version_tag(model.name, str(model.version), _tag(name), digest)


def _tag(name: str) -> str:
    return f"{name}_sha256"


def _missing(model: Registered, name: str, fix: str) -> ModelError:
    return ModelError("DOCUMENT_MISSING", f"Version {model.version} of {model.name} has no {name}.", "", fix)
