"""A vertical taken out of the monorepo, and a vertical that has just been written, stand alone."""

import subprocess
import tomllib
from pathlib import Path

import pytest

from shared.cli.repository import NEEDED, TOP, shared_files
from tests.contract.repository import ROOT, VERTICALS, check_types, furnished, lint, python, shared_core

CONTRACT = "tests/contract/test_verticals.py"


@pytest.mark.parametrize("name", VERTICALS)
def test_an_export_holds_one_vertical_and_all_that_a_repository_needs(name: str, tmp_path: Path) -> None:
    done = shared_core("export", name, "--to", str(tmp_path / "alone"))

    assert done.returncode == 0, done.stderr
    found = {path.name for path in (tmp_path / "alone").iterdir()}
    assert {"shared", "tests", name, "pyproject.toml", "setup.sh", ".ci", ".gitignore", "LICENSE", "README.md"} <= found
    assert not found & (set(VERTICALS) - {name})
    assert (tmp_path / "alone" / "setup.sh").stat().st_mode & 0o100
    project = tomllib.loads((tmp_path / "alone" / "pyproject.toml").read_text())
    assert project["tool"]["importlinter"]["root_packages"] == ["shared", name]
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path / "alone", check=True)
    ignored = subprocess.run(
        ["git", "add", "--all", "--verbose"], cwd=tmp_path / "alone", check=True, capture_output=True
    )
    assert b"pyproject.toml" in ignored.stdout


def test_files_of_ones_own_beside_the_code_are_not_copied(tmp_path: Path) -> None:
    for name in (*NEEDED, ".env", "customers.csv", "dump.sql", "shared/.secret", "shared/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    for folder in ("tests", "docs", "benchmarks"):
        (tmp_path / folder).mkdir()

    copied = {path.relative_to(tmp_path).as_posix() for path in shared_files(tmp_path, [])}

    assert copied == {*NEEDED, "shared/a.py"} - {"pyproject.toml", "Makefile", "README.md"}


def test_every_file_at_the_top_is_copied_or_written() -> None:
    known = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not known:
        pytest.skip("no git repository, whose files could be listed")

    assert {name for name in known.split() if "/" not in name} <= set(TOP)


@pytest.mark.slow
@pytest.mark.parametrize("name", VERTICALS)
def test_an_export_passes_its_checks_and_contract_tests(name: str, tmp_path: Path) -> None:
    assert shared_core("export", name, "--to", str(tmp_path / "alone")).returncode == 0
    alone = furnished(tmp_path / "alone")

    lint(alone)
    check_types(alone)
    chosen = ["tests/test_tree.py", f"tests/{name}/test_config.py", f"{name}/algorithms", CONTRACT]
    tested = python("-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, folder=alone)
    assert tested.returncode == 0, tested.stdout
    verbs = python("-m", name, "--help", folder=alone)
    assert verbs.returncode == 0, verbs.stderr


@pytest.mark.slow
def test_a_new_vertical_in_an_empty_folder_passes_its_checks_and_tests_which_run_it(tmp_path: Path) -> None:
    done = shared_core("new-vertical", "card_risk", "--to", str(tmp_path / "new"))
    assert done.returncode == 0, done.stderr
    new = furnished(tmp_path / "new")

    lint(new)
    check_types(new)
    chosen = ["tests/card_risk", "tests/test_tree.py", CONTRACT]
    tested = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", *chosen, "-k", "not template", folder=new)
    assert tested.returncode == 0, tested.stdout


def test_a_new_vertical_beside_others_keeps_every_import_rule(tmp_path: Path) -> None:
    assert shared_core("export", VERTICALS[0], "--to", str(tmp_path / "two")).returncode == 0

    done = shared_core("new-vertical", "card_risk", folder=tmp_path / "two")

    assert done.returncode == 0, done.stderr
    lint(tmp_path / "two")
    project = tomllib.loads((tmp_path / "two" / "pyproject.toml").read_text())
    assert project["tool"]["mypy"]["files"] == ["shared", VERTICALS[0], "card_risk"]
    names = [contract["name"] for contract in project["tool"]["importlinter"]["contracts"]]
    assert {"card_risk is layered", "verticals know nothing of each other"} <= set(names)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("export", "nothing", "--to", "out"), "VERTICAL_UNKNOWN"),
        (("export", VERTICALS[0], "--to", "full"), "TARGET_NOT_EMPTY"),
        (("new-vertical", "two words", "--to", "out"), "NAME_INVALID"),
        (("new-vertical", "shared", "--to", "out"), "NAME_TAKEN"),
        (("new-vertical", "json", "--to", "out"), "NAME_TAKEN"),
        (("new-vertical", "fine", "--to", "full"), "TARGET_NOT_EMPTY"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is(
    arguments: tuple[str, ...], code: str, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")

    verb, name, option, place = arguments
    done = shared_core(verb, name, option, str(tmp_path / place))

    assert done.returncode == 2
    assert f"[{code}]" in done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "mine.txt"]
