"""The files of a registered model: a digest of each at registration, and none used that does not match.

`manifest.json` lies with the model and names the sha256 of every other file; its own sha256 is a tag of the registered
version. So whoever can write where artifacts lie, but not in the registry, cannot change a model unnoticed. Loads no
Spark.
"""

import atexit
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlparse
from urllib.request import url2pathname

from shared.core.errors import EnvironmentProblem, ModelError
from shared.core.references import without_logins
from shared.registry.tracking import MlflowClient, MlflowException, mlflow, reached
from shared.registry.versions import Registered, check_name

MANIFEST: Final = "manifest.json"
MANIFEST_TAG: Final = "manifest_sha256"
DOCUMENTS: Final = "documents"
_LOGGED: Final = re.compile(r"\Amodels:/(m-[A-Za-z0-9-]+)\Z")  # a logged model of this registry, and no other address
# MLflow writes name and version beside the files of a model that somebody loads by its address, also into the store.
_MLFLOWS_NOTE: Final = "registered_model_meta"
_BLOCK: Final = 1 << 20


def write_manifest(folder: Path) -> str:
    """Write ``manifest.json`` of all files below ``folder`` into it, and return its sha256.

    Raises:
        ModelError: ``folder`` holds a link or anything else that is neither file nor folder.
    """
    (folder / MANIFEST).unlink(missing_ok=True)
    digests = {path: _sha256(folder / path) for path in sorted(_files(folder, "The model"))}
    content = json.dumps(digests, indent=1).encode()
    (folder / MANIFEST).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def fetch(model: Registered, under: str = "") -> Path:
    """Do what `fetched` does, and return the folder, which goes when the process ends; arguments and errors are the same."""
    with ExitStack() as stack:
        folder = stack.enter_context(fetched(model, under))
        atexit.register(stack.pop_all().close)
    return folder


@contextmanager
def fetched(model: Registered, under: str = "") -> Iterator[Path]:
    """Download the files of a version into a private folder, check them, and give the folder as long as it is needed.

    They come from the registry that `shared.registry.tracking.connect` opened, whatever the version says of its source.
    The folder is readable by this user only.

    Args:
        model: the version.
        under: the folder inside the model that is wanted, e.g. ``online``; empty is the whole model.

    Raises:
        ConfigError: ``under`` leaves the model.
        ModelError: MODEL_TAMPERED when a file is changed, missing, not in the manifest, or a link; MODEL_UNVERIFIED when
            the version has no manifest; MODEL_INCOMPLETE when it holds nothing under ``under``.
        EnvironmentProblem: the registry or its artifacts cannot be read.
    """
    for part in under.split("/") if under else ():
        check_name(part)
    client = MlflowClient()
    with reached(client.tracking_uri):
        version = client.get_model_version(check_name(model.name), str(model.version))
        expected, source = version.tags.get(MANIFEST_TAG), _LOGGED.match(str(version.source))
        if not expected or not source:
            raise ModelError(
                "MODEL_UNVERIFIED",
                f"{_label(model)} was registered without a manifest of its files.",
                f"A version with the tag {MANIFEST_TAG}.",
                "Train it again with python -m <vertical> train; reproduce gives the same model.",
            )
        location = str(client.get_logged_model(source[1]).artifact_location)
        present = {found.path for found in client.list_logged_model_artifacts(source[1])}
    if MANIFEST not in present:
        raise _tampered(model, f"{MANIFEST} is missing")
    _refuse_links_at(location, model)
    with tempfile.TemporaryDirectory(prefix="model-", ignore_cleanup_errors=True) as private:
        yield _checked(model, under, present, location, expected, Path(private))


def _checked(
    model: Registered, under: str, present: Collection[str], location: str, expected: str, private: Path
) -> Path:
    """Download into ``private`` and return the folder ``under``."""
    manifest = download(f"{location}/{MANIFEST}", private).read_bytes()
    if hashlib.sha256(manifest).hexdigest() != expected:
        raise _tampered(model, f"{MANIFEST} is not the one that was registered")
    wanted = _below(_read_manifest(manifest, model), under)
    if not wanted:
        raise ModelError(
            "MODEL_INCOMPLETE", f"{_label(model)} holds nothing under {under}.", "", "Train again with this code."
        )
    if under.split("/")[0] not in present and under:
        raise _tampered(model, f"{under} is missing")
    folder = download(f"{location}/{under}".rstrip("/"), private / "files")
    _verify(folder, wanted, model)
    return folder


def _verify(folder: Path, wanted: Mapping[str, str], model: Registered) -> None:
    found = {path for path in _files(folder, _label(model)) if path not in (MANIFEST, _MLFLOWS_NOTE)}
    for what, paths in (("missing", wanted.keys() - found), ("not in the manifest", found - wanted.keys())):
        if paths:
            raise _tampered(model, f"{sorted(paths)[:5]} {'is' if len(paths) == 1 else 'are'} {what}")
    changed = [path for path, digest in sorted(wanted.items()) if _sha256(folder / path) != digest]
    if changed:
        raise _tampered(model, f"{changed[:5]} {'has' if len(changed) == 1 else 'have'} another content")


def _read_manifest(content: bytes, model: Registered) -> dict[str, str]:
    digests: dict[str, Any] = json.loads(content)
    for path in digests:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\\" in path or path != str(PurePosixPath(path)):
            raise _tampered(model, f"its manifest names {path!r}, which leaves the model's folder")
    return digests


def _below(digests: Mapping[str, str], under: str) -> dict[str, str]:
    """Return the files under a folder, by their path from there.

    >>> _below({"online/a.onnx": "1", "MLmodel": "2"}, "online")
    {'a.onnx': '1'}
    """
    start = f"{under}/" if under else ""
    return {path.removeprefix(start): digest for path, digest in digests.items() if path.startswith(start)}


def _refuse_links_at(location: str, model: Registered) -> None:
    # A copy of a link is a file: what the store itself holds has to be looked at, where that is a folder.
    address = urlparse(location)
    if address.scheme in ("", "file"):
        for _ in _files(Path(url2pathname(address.path)), _label(model)):
            pass


def _files(folder: Path, whose: str) -> Iterator[str]:
    """Give the paths of all files below ``folder``; refuse links, devices and pipes."""
    for root, folders, names in os.walk(folder, followlinks=False):
        for name in (*folders, *names):
            path = Path(root, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ModelError(
                    "MODEL_TAMPERED",
                    f"{whose} holds {path.relative_to(folder)}, which is a link or no file.",
                    "Plain files in folders.",
                    _NEXT,
                )
        yield from (Path(root, name).relative_to(folder).as_posix() for name in names)


def download(address: str, into: Path) -> Path:
    """Download a file or folder of the artifacts into the folder ``into`` and return where it is.

    Raises:
        EnvironmentProblem: it cannot be read.
    """
    into.mkdir(mode=0o700, exist_ok=True)
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=str(into)))
    except (MlflowException, OSError) as error:
        raise EnvironmentProblem(
            "MODEL_UNREADABLE", without_logins(f"{address} cannot be read: {error}."), "", "Check tracking_uri."
        ) from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


_NEXT: Final = "Find out who changed it; roll back to the previous version, or train again."


def _tampered(model: Registered, found: str) -> ModelError:
    return ModelError("MODEL_TAMPERED", f"{_label(model)} is not what was registered: {found}.", "", _NEXT)


def _label(model: Registered) -> str:
    return f"Version {model.version} of {model.name}"
