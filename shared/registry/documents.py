"""What is written of a registered version: with it, as part of its files, or later, such as its evaluation.

The sha256 of each is a tag of the version, that of the files by way of their manifest. So whoever can write where artifacts
lie, but not in the registry, can neither change a document nor put that of another model in its place. Loads no Spark.
"""

import hashlib
import json
import tempfile
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
    """Store ``document`` with the run that made the model; from then on it is the one that `added` returns.

    Raises:
        EnvironmentProblem: MLflow cannot store it.
    """
    content = json.dumps(document, default=str, indent=1, sort_keys=True).encode()
    # Its own file, and the tag last: whoever reads meanwhile finds the one before.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, _file(check_name(name), _sha256(content)))
        file.write_bytes(content)
        tracking.write_file(model.run, file)
    _sign(model, name, content)


def add_file(model: Registered, file: Path) -> None:
    """Store a local file with the run that made the model, under its own name, and its sha256 with the version.

    Raises:
        EnvironmentProblem: MLflow cannot store it.
    """
    tracking.write_file(model.run, file)
    _sign(model, check_name(file.stem), file.read_bytes())


def added(model: Registered, name: str) -> dict[str, Any]:
    """Return the document ``name`` that `add` stored last.

    Raises:
        ModelError: DOCUMENT_MISSING when none was added to this version; as `added_if_any`.
        EnvironmentProblem: the registry or its artifacts cannot be read.
    """
    found = added_if_any(model, name)
    if found is None:
        raise _missing(model, name, "Run evaluate; train and promote another in place of a champion without one.")
    return found


def added_if_any(model: Registered, name: str) -> dict[str, Any] | None:
    """Return what `added` returns, or None when none was added to this version.

    Raises:
        ModelError: DOCUMENT_CHANGED when it is not there any more or is another.
        EnvironmentProblem: the registry or its artifacts cannot be read.
    """
    client, content = MlflowClient(), b""
    with tracking.reached():
        expected = client.get_model_version(model.name, str(model.version)).tags.get(_tag(name))
        if expected is None:
            return None
        file = _file(name, expected)
        is_there = any(
            found.path == file and not found.is_dir for found in client.list_artifacts(model.run.info.run_id)
        )
    if is_there:
        with tempfile.TemporaryDirectory() as folder:
            content = files.download(f"{model.run.info.artifact_uri}/{file}", Path(folder)).read_bytes()
    if _sha256(content) != expected:
        raise ModelError(
            "DOCUMENT_CHANGED",
            f"{file}, of version {model.version} of {model.name}, {'was changed' if is_there else 'is gone'}.",
            f"The file with the sha256 in the version's tag {_tag(name)}.",
            "Find out who changed it and restore it; without the tag it counts as never written.",
        )
    document: dict[str, Any] = json.loads(content)
    return document


def _sign(model: Registered, name: str, content: bytes) -> None:
    with tracking.reached():
        MlflowClient().set_model_version_tag(model.name, str(model.version), _tag(name), _sha256(content))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tag(name: str) -> str:
    return f"{name}_sha256"


def _file(name: str, digest: str) -> str:
    return f"{name}-{digest[:16]}.json"


def _missing(model: Registered, name: str, fix: str) -> ModelError:
    return ModelError("DOCUMENT_MISSING", f"Version {model.version} of {model.name} has no {name}.", "", fix)
