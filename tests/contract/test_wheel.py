"""The wheel is all that a job has: its entry points, one process after the other, do what one `run` does."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.core import jars
from tests.churn.conftest import SMALL

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
VERBS = ("sample", "ingest", "features", "train", "evaluate", "promote", "score-batch", "report")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From a copy: what an earlier build left beside the sources would end up in the wheel.
    source = tmp_path_factory.mktemp("source")
    for name in ("shared", "churn"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(source / "dist")]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next((source / "dist").glob("*.whl"))


_GATE = """
import sys
from importlib.machinery import PathFinder

class Gate(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {denied!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Gate
"""


def denied(wheel: Path) -> set[str]:
    """Return the modules of the packages that neither the wheel asks for nor a cluster has: there they are missing."""
    metadata = next(name for name in ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA"))
    asked = Parser().parsestr(ZipFile(wheel).read(metadata).decode()).get_all("Requires-Dist", [])
    allowed: set[str] = set()
    wanted = [*asked, "pyspark", "delta-spark", "py4j", "pip", "setuptools"]
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonicalize_name(requirement.name)
        is_needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if name not in allowed and is_needed:
            allowed.add(name)
            with suppress(PackageNotFoundError):
                wanted += distribution(name).requires or []
    owners = packages_distributions().items()
    own = {"shared", "churn"}
    return {module for module, names in owners if not {canonicalize_name(name) for name in names} & allowed} - own


Installed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Run a command of an environment that holds the wheel, and of the checkout nothing but its packages from pip."""
    home = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "env"], check=True)
    folder = next((home / "env" / "lib").glob("python*/site-packages"))
    (folder / "packages.pth").write_text(sysconfig.get_paths()["purelib"] + "\nimport gate\n")
    (folder / "gate.py").write_text(_GATE.format(denied=denied(wheel)))
    python = home / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYSPARK", "SPARK"))}
    env = kept | {"ACCELERATORS_JARS": str(jars.folder())}

    def run(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        whole = [home / "env" / "bin" / command, *arguments]
        return subprocess.run(whole, cwd=home, env=env, capture_output=True, text=True, check=False)

    return run


def test_the_wheel_holds_every_file_that_the_code_reads(wheel: Path) -> None:
    kinds = {".py", ".yaml", ".j2", ".properties", ".lock", ".xml"}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in ("shared", "churn")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix in kinds and "deploy" not in path.relative_to(ROOT / package).parts[:1]
    }

    assert wanted <= set(ZipFile(wheel).namelist())
    assert "shared/core/jars.lock" in wanted


def test_a_task_can_export_with_what_the_wheel_asks_for_and_has_nothing_else(installed: Installed) -> None:
    exports = installed("python", "-c", "import onnx, onnxruntime, sqlglot, shared.deploy.export")
    others = installed("python", "-c", "import chispa")

    assert exports.returncode == 0, exports.stderr
    assert "No module named 'chispa'" in others.stderr


def test_the_wheel_runs_from_where_it_was_installed(installed: Installed) -> None:
    where = installed("python", "-c", "import shared.core.jars as j; print(j.__file__, len(j.paths(['delta'])))")
    text = installed("churn", "--help")

    assert "/env/lib/" in where.stdout, where.stderr
    assert int(where.stdout.split()[-1]) > 5
    assert text.returncode == 0, text.stderr
    assert "score-batch" in text.stdout


def test_the_entry_points_in_order_each_a_process_do_what_one_run_does(
    installed: Installed, small_run: dict[str, object], tmp_path: Path
) -> None:
    found: dict[str, dict[str, object]] = {"metrics": {}, "tables": {}, "model": {}}
    for verb in VERBS:
        done = installed("churn", verb, "--json", "--warehouse", tmp_path / "w", *SMALL)
        assert done.returncode == 0, done.stderr[-3000:]
        outcome = json.loads(done.stdout)
        for part, known in found.items():
            known.update(outcome[part])

    metrics = small_run["metrics"]
    assert isinstance(metrics, dict)
    for kind, values in metrics.items():
        assert found["metrics"][kind] == {name: pytest.approx(value, rel=1e-9) for name, value in values.items()}, kind
    assert found["model"] == small_run["model"]
    assert found["tables"].keys() == small_run["tables"].keys()  # type: ignore[attr-defined]

    for job, told in (("monitor", "window"), ("retrain", "decision")):  # as they are scheduled, with nobody to ask
        done = installed("churn", "job", job, "--json", "--warehouse", tmp_path / "w", *SMALL)
        assert done.returncode == 0, done.stderr[-3000:]
        assert json.loads(done.stdout)["steps"][0][told]
