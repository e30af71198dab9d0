"""The images cannot be built where no engine is; what they are made of can be looked at."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "churn" / "deploy"
IMAGES = {"Dockerfile": "requirements-cluster.lock", "Dockerfile.online": "requirements-online.lock"}


def instructions(name: str) -> list[list[str]]:
    """Return the words of every instruction of the final stage."""
    text = re.sub(r"\\\n", " ", (DEPLOY / name).read_text())
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    last = max(place for place, words in enumerate(lines) if words[0] == "FROM")
    return lines[last:]


def versions(name: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", IMAGES)
def test_hadolint_finds_nothing_and_no_rule_is_left_out(name: str) -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, DEPLOY / name], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")
    assert "hadolint ignore" not in (DEPLOY / name).read_text()


@pytest.mark.parametrize("name", IMAGES)
def test_what_runs_is_no_root_and_builds_nothing(name: str) -> None:
    final = instructions(name)

    assert [words[1] for words in final if words[0] == "USER"][-1].isdigit()
    assert int([words[1] for words in final if words[0] == "USER"][-1]) > 0
    for words in final:
        assert words[0] != "RUN" or words[1] == "useradd"


@pytest.mark.parametrize("name", IMAGES)
def test_every_file_an_image_copies_is_sent_to_the_engine(name: str) -> None:
    let_in = (ROOT / ".dockerignore").read_text().split()
    copied = re.findall(r"^COPY (?!--from)(\S+)", (DEPLOY / name).read_text(), re.MULTILINE)

    assert copied
    for path in copied:
        assert any(line.startswith(f"!{path}") for line in let_in), path


@pytest.mark.parametrize("lock", IMAGES.values())
def test_the_packages_of_an_image_are_pinned_by_hash_in_the_versions_of_the_tests(lock: str) -> None:
    text = (ROOT / lock).read_text()

    assert lock in "".join((DEPLOY / name).read_text() for name, own in IMAGES.items() if own == lock)
    assert versions(lock) <= versions("requirements.lock")
    assert len(re.findall(r"^[\w.-]+==\S+ \\\n    --hash=sha256:", text, re.MULTILINE)) == len(versions(lock)) > 30


def test_the_online_image_has_neither_spark_nor_pandas_and_the_other_leaves_spark_to_its_base() -> None:
    online = {name for name, _ in versions("requirements-online.lock")}
    cluster = {name for name, _ in versions("requirements-cluster.lock")}

    assert {"fastapi", "uvicorn", "onnxruntime", "mlflow-skinny"} <= online
    assert not online & {"pyspark", "delta-spark", "pandas", "pyarrow", "mlflow", "matplotlib", "onnx"}
    assert {"mlflow", "onnx", "optuna"} <= cluster
    assert not cluster & {"pyspark", "delta-spark", "pytest"}


def test_the_online_image_is_asked_whether_it_lives() -> None:
    health = next(words for words in instructions("Dockerfile.online") if words[0] == "HEALTHCHECK")

    assert "/live" in " ".join(health)


_SERVED = """
import re, sys
from importlib.metadata import packages_distributions

def normal(name):
    return re.sub("[-_.]+", "-", name).lower()

class Gate:
    owners, allowed = packages_distributions(), set(sys.argv[1:])

    def find_spec(self, name, path=None, target=None):
        owners = self.owners.get(name.partition(".")[0])
        if owners and not {normal(owner) for owner in owners} & self.allowed:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Gate())
import churn.serve, shared.deploy.online.registry, shared.deploy.online.server
print("pyspark" in sys.modules)
"""


def test_the_service_starts_with_the_packages_of_its_image_and_no_others() -> None:
    packages = [name.lower().replace("_", "-") for name, _ in versions("requirements-online.lock")]
    done = subprocess.run(
        [sys.executable, "-c", _SERVED, *packages], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
