"""Rules of the tree that no linter knows; each has a line in docs/architecture.md."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("shared", *(file.parent.name for file in ROOT.glob("*/pipeline.py")))
CODE = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
# Path → why it is longer than 400 lines.
LONG = {"churn/sample.py": "one generator: hazard, events and defects of five tables draw on each other"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def holders(pattern: str) -> set[str]:
    return {name(path) for path in CODE if re.search(pattern, path.read_text(encoding="utf-8"))}


def test_there_is_code_to_look_at() -> None:
    assert len(CODE) > 50


def test_only_the_session_factory_knows_the_context() -> None:
    assert holders(r"\.sparkContext|\._jvm|\._jsc|\.rdd\b") <= {"shared/core/session.py"}


@pytest.mark.parametrize("pattern", [r"\brandomSplit\(", r"\.toPandas\(", r"except Exception:\s*\n\s*pass\b"])
def test_what_must_not_be_written_is_not(pattern: str) -> None:
    assert holders(pattern) == set()


def test_a_module_fits_on_a_desk() -> None:
    long = {name(path) for path in CODE if len(path.read_text(encoding="utf-8").splitlines()) > 400}
    assert long == {path for path in LONG if (ROOT / path).exists()}
