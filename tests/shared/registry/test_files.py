"""Files of a model are used when they are the ones that were registered, and only then."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlparse

import pytest

from shared.core.errors import ConfigError, ModelError
from shared.core.run import RunConfig
from shared.registry import documents, files, tracking, versions
from shared.registry.tracking import MlflowClient
from shared.registry.versions import Registered

CONTENT = {"MLmodel": "flavors: {}\n", "online/model.onnx": "weights", "online/a/b.json": "{}", "onlines/x": "other"}
CONTENT |= {"documents/config.json": '{"seed": 7}'}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registered(root: Path) -> Iterator[Registered]:
    """A version of plain files."""
    client = tracking.connect(RunConfig(warehouse=str(root / "warehouse")), "things")
    folder = root / "model"
    for path, text in CONTENT.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    with tracking.training_run(RunConfig(warehouse=str(root)), "one", {}) as run:
        logged = client.create_logged_model(run.info.experiment_id, source_run_id=run.info.run_id)
        manifest = files.write_manifest(folder)
        client.log_model_artifacts(logged.model_id, str(folder))
        client.create_registered_model("things")
        tags = {files.MANIFEST_TAG: manifest}
        client.create_model_version("things", logged.model_uri, run.info.run_id, tags=tags)
        client.create_model_version("things", logged.model_uri, run.info.run_id)
        client.create_model_version("things", folder.as_uri(), run.info.run_id, tags=tags)
    versions.point(client, "things", "challenger", 1)
    yield versions.find(client, "things", "challenger")
    tracking.mlflow.set_tracking_uri(None)
    tracking.mlflow.set_registry_uri(None)


@pytest.fixture
def stored(registered: Registered, root: Path, tmp_path: Path) -> Iterator[Path]:
    """Where the registry keeps the files; as it was, after the test."""
    folder = next((root / "warehouse" / "mlartifacts" / "models").glob("*/artifacts"))
    before = shutil.copytree(folder, tmp_path / "before")
    yield folder
    shutil.rmtree(folder)
    shutil.move(before, folder)


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_all_files_or_those_of_one_folder_are_fetched_into_a_folder_of_ones_own(registered: Registered) -> None:
    whole, part = files.fetch(registered), files.fetch(registered, "online")

    assert {path: text for path, text in contents(whole).items() if path != files.MANIFEST} == CONTENT
    assert contents(part) == {"model.onnx": "weights", "a/b.json": "{}"}
    assert contents(files.fetch(registered, "online/a")) == {"b.json": "{}"}
    for folder in (whole, part):
        assert all(stat.S_IMODE(above.stat().st_mode) == 0o700 for above in (folder.parent, folder.parent.parent))


def test_the_folder_goes_with_its_reader_and_at_once_when_a_model_is_refused(
    registered: Registered, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(private))

    with files.fetched(registered, "online") as folder:
        assert private in folder.parents
        assert contents(folder) == {"model.onnx": "weights", "a/b.json": "{}"}
    change(stored)
    with pytest.raises(ModelError, match="MODEL_TAMPERED"):
        files.fetch(registered, "online")

    assert not list(private.glob("model-*"))


def test_a_model_that_somebody_loaded_through_mlflow_is_what_it_was(registered: Registered, stored: Path) -> None:
    # MLflow leaves a note of its own where the files are.
    tracking.mlflow.artifacts.download_artifacts("models:/things/1")

    assert (stored / "registered_model_meta").exists()
    assert contents(files.fetch(registered, "online")) == {"model.onnx": "weights", "a/b.json": "{}"}
    files.fetch(registered)


def test_a_document_is_what_was_logged_with_the_model_or_refused(registered: Registered, stored: Path) -> None:
    assert documents.logged(registered, "config") == {"seed": 7}
    with pytest.raises(ModelError, match="DOCUMENT_MISSING"):
        documents.logged(registered, "training")

    (stored / "documents" / "config.json").write_text('{"seed": 8}')
    with pytest.raises(ModelError, match="MODEL_TAMPERED"):
        documents.logged(registered, "config")


def test_a_document_of_later_is_the_one_that_was_added_to_this_version_or_refused(
    registered: Registered, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="DOCUMENT_MISSING"):
        documents.added(registered, "evaluation")

    for auc in (0.7, 0.8):
        documents.add(registered, "evaluation", {"auc": auc, "day": date(2026, 1, 2)})
        assert documents.added(registered, "evaluation") == {"auc": auc, "day": "2026-01-02"}
    other = replace(registered, version=2)
    with pytest.raises(ModelError, match="DOCUMENT_MISSING"):
        documents.added(other, "evaluation")

    page = tmp_path / "report.html"
    page.write_text("<p>ü</p>", encoding="utf-8")
    documents.add_file(registered, page)
    tags = MlflowClient().get_model_version("things", "1").tags
    assert tags["report_sha256"] == sha256("<p>ü</p>".encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "said"), [(b'{"auc": 0.9}', "was changed"), (b"\xff", "was changed"), (None, "is gone")]
)
def test_a_document_that_was_changed_or_is_gone_is_not_one_that_was_never_written(
    registered: Registered, content: bytes | None, said: str
) -> None:
    documents.add(registered, "baseline", {"bins": []})
    documents.add(registered, "baseline", {"bins": [1]})
    folder = Path(urlparse(registered.run.info.artifact_uri).path)
    first, second = sorted(folder.glob("baseline-*.json"), key=lambda file: file.stat().st_size)

    if content is None:
        second.unlink()
    else:
        second.write_bytes(content)
    with pytest.raises(ModelError, match=f"DOCUMENT_CHANGED.*{second.name}.*{said}"):
        documents.added(registered, "baseline")
    shutil.copy(first, second)
    with pytest.raises(ModelError, match="DOCUMENT_CHANGED"):
        documents.added(registered, "baseline")


def change(stored: Path) -> None:
    (stored / "online" / "model.onnx").write_text("weightz")


def add(stored: Path) -> None:
    (stored / "online" / "extra.py").write_text("")


def remove(stored: Path) -> None:
    (stored / "online" / "model.onnx").unlink()


def remove_folder(stored: Path) -> None:
    for path in ("a/b.json", "model.onnx"):
        (stored / "online" / path).unlink()
    (stored / "online" / "a").rmdir()
    (stored / "online").rmdir()


def link(stored: Path) -> None:
    same = stored.parent.parent / "same"
    (stored / "online" / "model.onnx").rename(same)
    (stored / "online" / "model.onnx").symlink_to(same)


def link_folder(stored: Path) -> None:
    shutil.copytree(stored / "online", stored.parent / "elsewhere", dirs_exist_ok=True)
    shutil.rmtree(stored / "online")
    (stored / "online").symlink_to(stored.parent / "elsewhere")


def pipe(stored: Path) -> None:
    os.mkfifo(stored / "online" / "pipe")


def change_manifest(stored: Path) -> None:
    (stored / "online" / "model.onnx").write_text("weightz")
    files.write_manifest(stored)


def remove_manifest(stored: Path) -> None:
    (stored / files.MANIFEST).unlink()


@pytest.mark.parametrize("under", ["", "online"])
@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (change, "model.onnx'] has another content"),
        (add, "extra.py'] is not in the manifest"),
        (remove, "model.onnx'] is missing"),
        (remove_folder, "missing"),
        (link, "model.onnx, which is a link"),
        (link_folder, "online, which is a link"),
        (pipe, "online/pipe, which is a link or no file"),
        (change_manifest, "manifest.json is not the one that was registered"),
        (remove_manifest, "manifest.json is missing"),
    ],
)
def test_files_that_are_not_those_registered_are_refused(
    registered: Registered, stored: Path, tamper: Callable[[Path], None], message: str, under: str
) -> None:
    tamper(stored)

    with pytest.raises(ModelError, match=r"MODEL_TAMPERED") as error:
        files.fetch(registered, under)

    assert message in str(error.value)
    assert error.value.exit_code == 4


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "online/../../outside", "a\\b", "./MLmodel", ""])
def test_a_manifest_that_leads_out_of_the_model_is_refused(registered: Registered, path: str) -> None:
    with pytest.raises(ModelError, match=r"MODEL_TAMPERED.*leaves the model's folder"):
        files._read_manifest(f'{{"{path}": "00"}}'.replace("\\", "\\\\").encode(), registered)


@pytest.mark.parametrize("version", [2, 3])
def test_a_version_without_manifest_or_from_another_place_is_refused(registered: Registered, version: int) -> None:
    with pytest.raises(ModelError, match=r"MODEL_UNVERIFIED.*Train it again") as error:
        files.fetch(Registered("things", version, "challenger", registered.run))
    assert error.value.exit_code == 4


def test_a_folder_the_model_does_not_have_is_named(registered: Registered) -> None:
    with pytest.raises(ModelError, match=r"MODEL_INCOMPLETE.*under stream"):
        files.fetch(registered, "stream")


@pytest.mark.parametrize("name", ["models:/things/1", "/etc", "../things", "things/1", "runs:/x/model", "", "a" * 65])
def test_an_address_or_a_path_names_no_model(registered: Registered, name: str) -> None:
    client = tracking.MlflowClient()
    for ask in (
        lambda: versions.find(client, name, "champion"),
        lambda: versions.find(client, "things", name),
        lambda: files.fetch(Registered(name, 1, "champion", registered.run)),
        lambda: files.fetch(registered, name or "/"),
    ):
        with pytest.raises(ConfigError, match="MODEL_NAME_INVALID"):
            ask()


def test_a_link_beside_a_model_is_not_registered(tmp_path: Path) -> None:
    (tmp_path / "secret").symlink_to("/etc/hostname")

    with pytest.raises(ModelError, match="secret, which is a link"):
        files.write_manifest(tmp_path)


def test_the_registry_is_opened_and_files_are_fetched_where_spark_is_not_installed(
    registered: Registered, root: Path
) -> None:
    program = f"""
import sys
sys.modules.update(pyspark=None, delta=None, py4j=None)  # as if they were not installed
from shared.core.run import RunConfig
from shared.registry import documents, files, tracking, versions
client = tracking.connect(RunConfig(warehouse={str(root / "warehouse")!r}), "things")
print((files.fetch(versions.find(client, "things", "challenger"), "online") / "model.onnx").read_text())
print([name for name, found in sys.modules.items() if name.startswith(("pyspark", "delta.")) and found])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.stdout.splitlines() == ["weights", "[]"], done.stderr
