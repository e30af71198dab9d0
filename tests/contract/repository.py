"""The verticals of this checkout, and repositories made from it: files of their own, environment and jars of ours."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEMPLATE = "shared.cli.template"
VERTICALS = sorted(file.parent.name for file in ROOT.glob("*/pipeline.py"))


def small(name: str) -> tuple[str, ...]:
    """Return the options of a small run, which the tests of each vertical name."""
    found: tuple[str, ...] = import_module(f"tests.{name}.conftest").SMALL
    return found


def shared_core(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `python -m shared …`."""
    return python("-m", "shared", *arguments, folder=folder)


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run this Python in ``folder``, whose packages come first."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=folder, check=False, timeout=900
    )


def furnished(folder: Path) -> Path:
    """Give a new repository the jars of this one, instead of fetching them again."""
    (folder / "jars").symlink_to((ROOT / "jars").resolve())
    return folder


def lint(folder: Path) -> None:
    """Hold a repository to the checks of this one that take seconds."""
    imports = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    for command in (("-m", "ruff", "check", "."), ("-m", "ruff", "format", "--check", "."), ("-c", imports)):
        done = python(*command, folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr


def check_types(folder: Path) -> None:
    """Hold a repository to the types of this one, which takes a minute."""
    done = python("-m", "mypy", "--cache-dir", str(folder / ".mypy_cache"), folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
