"""The checkout as files: which verticals it has, and which files a repository with some of them needs.

The standard library alone, like `python -m shared`.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from shared.core.errors import ConfigError, EnvironmentProblem
from shared.core.jars import root

NEEDED: Final = (
    *("requirements.lock", "Makefile", "setup.sh", ".ci/run", ".gitignore", "LICENSE", "pyproject.toml", "README.md"),
)
"""Files at the top that a checkout has."""

TOP: Final = (
    *NEEDED,
    *(
        "CHANGELOG.md",
        ".dockerignore",
        "requirements-cluster.lock",
        "requirements-online.lock",
        "requirements-online.in",
    ),
)
"""Files at the top that a repository may have, by name, as its user's may lie beside them: passwords, data."""

_WRITTEN: Final = {"pyproject.toml", "Makefile", "README.md"}  # anew, see `export_vertical.write_frame`
_LEFT_OUT: Final = {"__pycache__", ".hypothesis", ".pytest_cache", "warehouse", "mlruns"}
_SUFFIXES: Final = {".pyc", ".log"}


def verticals(checkout: Path) -> list[str]:
    """Return the names of the verticals of a checkout: packages with a `pipeline.py`."""
    return sorted(file.parent.name for file in checkout.glob("*/pipeline.py") if file.parent.name.isidentifier())


def checkout() -> Path:
    """Return the checkout this code runs from.

    Raises:
        EnvironmentProblem: it is an installed copy, which lacks the tests and the files at the top.
    """
    found = root()
    missing = [name for name in (*NEEDED, "tests") if not (found / name).exists()]
    if missing:
        raise EnvironmentProblem(
            "CHECKOUT_NEEDED", f"{found} lacks {missing}.", "A checkout of the repository.", "Run it from a clone."
        )
    return found


def files_in(folder: Path) -> Iterator[Path]:
    """Return the files below a folder that belong to a repository: no caches, no results, nothing hidden."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        is_made = any(part in _LEFT_OUT for part in parts) or path.suffix in _SUFFIXES
        if path.is_file() and not is_made and path.name != "local.yaml" and not path.name.startswith("."):
            yield path


def shared_files(checkout: Path, others: Sequence[str]) -> Iterator[Path]:
    """Return what every vertical needs: the core, its tests, documents, benchmarks that are about none of ``others``."""
    yield from files_in(checkout / "shared")
    for folder in ("tests", "benchmarks", "docs"):
        for path in files_in(checkout / folder):
            if not _is_about(path, path.relative_to(checkout / folder).parts, others):
                yield path
    yield from (path for name in TOP if name not in _WRITTEN and (path := checkout / name).is_file())


def _is_about(path: Path, parts: Sequence[str], names: Sequence[str]) -> bool:
    """Tell whether a file is about one of the verticals: it lies in its folder, imports it, or is a contract that names it."""
    if not names or path.suffix not in (".py", ".md"):
        return parts[0] in names
    some = "|".join(names)
    if parts[0] in names or re.match(rf"(?:{some})_", path.name):
        return True
    text = path.read_text(encoding="utf-8") if path.suffix == ".py" else ""
    imports = re.search(rf"^\s*(?:from|import) (?:tests\.)?(?:{some})\b", text, re.MULTILINE)
    return bool(imports) or (parts[0] == "contract" and bool(re.search(rf'"(?:{some})"', text)))


def check_empty(target: Path) -> None:
    """Refuse a folder with anything in it, so that nothing of the user's is ever written over.

    Raises:
        ConfigError: it is not empty, or no folder.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(
            "TARGET_NOT_EMPTY", f"{target} is there and not empty.", "A new or empty folder.", "Change --to."
        )


def copy(path: Path, target: Path) -> None:
    """Copy a file with its permissions, and make the folders above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(path.read_bytes())
    target.chmod(path.stat().st_mode & 0o777 | 0o200)
