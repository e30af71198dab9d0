"""`python -m shared doctor`: is this machine able to run the product, and if not, what to do.

It needs nothing that it looks for: the standard library of an older Python is enough. The compatibility table below is
the only one; a test holds it against the pins of `pyproject.toml` and `ivy.xml`.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.core import jars
from shared.core.errors import AcceleratorError, EnvironmentProblem

EXIT_CODE: Final = EnvironmentProblem.exit_code
PYTHON: Final = (3, 11)
JAVA: Final = 17  # Spark 4.2 is tested on 17 and 21
PACKAGES: Final = {"pyspark": "4.2.0", "delta-spark": "4.4.0", "mlflow": "3.17.2", "pandas": "2.", "numpy": "2."}
JARS: Final = {"delta": "delta-spark_4.2_2.13-4.4.0.jar", "jdbc": "postgresql-42.7.7.jar"}
MEMORY_GIB: Final = 4.0
DISK_GIB: Final = 3.0


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found, what is needed, and what to do when it is not there."""

    name: str
    is_fine: bool
    found: str
    needed: str
    remedy: str


def checks(warehouse: str = "warehouse") -> list[Check]:
    """Look at the machine and return every check; starts no Spark."""
    return [
        _python(),
        _java(),
        *(_package(name, pinned) for name, pinned in PACKAGES.items()),
        *(_jar_set(name, main) for name, main in JARS.items()),
        _memory(),
        _disk(warehouse),
        _time_zone(),
        _writable("warehouse", warehouse),
        _writable("temporary", os.environ.get("TMPDIR") or "/tmp"),  # Java's and Python's; neither may look elsewhere
    ]


def as_table(found: Iterable[Check]) -> str:
    """Return the checks as lines, each problem with what to do under it."""
    lines = []
    for check in found:
        lines.append(f"{'ok ' if check.is_fine else 'NO '} {check.name:<22}{check.found:<34}needs {check.needed}")
        if not check.is_fine:
            lines.append(f"      → {check.remedy}")
    return "\n".join(lines)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    needed = ".".join(map(str, PYTHON))
    return Check("Python", sys.version_info >= PYTHON, found, f"{needed} or newer", "Install it, then run make demo.")


def _java() -> Check:
    needed = f"{JAVA} or newer"
    remedy = "Install openjdk-17-jre-headless (Debian, Ubuntu) or set JAVA_HOME."
    try:
        # Spark's launcher asks for this module; a cut-down Java has a version but lacks it.
        ask = [jars.java(), "--add-modules=jdk.incubator.vector", "-version"]
        done = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("Java", False, type(error).__name__, needed, remedy)
    match = re.search(r'version "(\d+)[^"]*"', done.stderr)
    found = int(match.group(1)) if match else 0
    return Check("Java", done.returncode == 0 and found >= JAVA, str(found or "none"), needed, remedy)


def _package(name: str, pinned: str) -> Check:
    try:
        found = version(name)
    except PackageNotFoundError:
        found = "not installed"
    is_fine = found.startswith(pinned) if pinned.endswith(".") else found == pinned
    needed = f"{pinned}*" if pinned.endswith(".") else pinned
    return Check(name, is_fine, found, needed, "Run make demo, which installs requirements.lock.")


def _jar_set(name: str, main: str) -> Check:
    try:
        paths = jars.paths([name])
    except (AcceleratorError, OSError) as error:
        return Check(f"jars: {name}", False, str(error)[:80], main, "Delete the folder jars and run make demo.")
    names = [path.name for path in paths]
    return Check(f"jars: {name}", main in names, f"{len(names)} as in jars.lock", main, "Run make demo.")


def _memory() -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    remedy = "Use a larger machine, or --set session.driver_memory=1g for small data."
    return Check("memory", total >= MEMORY_GIB, f"{total:.1f} GiB", f"{MEMORY_GIB} GiB", remedy)


def _disk(warehouse: str) -> Check:
    if _is_elsewhere(warehouse):
        return Check("disk", True, f"{warehouse}: not looked at", f"{DISK_GIB} GiB", "")
    free = shutil.disk_usage(_existing(Path(warehouse.removeprefix("file://").removeprefix("file:")))).free / 2**30
    remedy = "Free some space, or put --warehouse on another disk."
    return Check("disk", free >= DISK_GIB, f"{free:.1f} GiB free", f"{DISK_GIB} GiB", remedy)


def _time_zone() -> Check:
    # Sessions set UTC themselves, but Python's and Java's own clocks follow TZ, and take a zone they lack for UTC.
    name = os.environ.get("TZ", "").removeprefix(":") or "UTC"
    try:
        ZoneInfo(name)
        is_known = True
    except (ZoneInfoNotFoundError, ValueError, OSError):
        is_known = False
    found = f"{time.tzname[0]} (sessions use UTC)" if is_known else f"TZ={name}, unknown"
    return Check("time zone", is_known, found, "a known one", "Unset TZ or set TZ=UTC, and install tzdata.")


def _is_elsewhere(path: str) -> bool:
    """Tell whether ``path`` is a URI or a catalog, which only Spark can look at."""
    return bool(re.match(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+:", path))


def _writable(name: str, path: str) -> Check:
    if _is_elsewhere(path):
        return Check(f"writable: {name}", True, f"{path}: not looked at", "a place you may write", "")
    path = path.removeprefix("file://").removeprefix("file:")
    folder = _existing(Path(path))
    try:
        with tempfile.TemporaryFile(dir=folder):
            is_fine = folder.is_dir()
    except OSError:
        is_fine = False
    return Check(
        f"writable: {name}", is_fine, str(path), "a folder you may write", f"chmod u+w {folder}, or another one."
    )


def _existing(path: Path) -> Path:
    absolute = path.absolute()
    return absolute if absolute.exists() or absolute == absolute.parent else _existing(absolute.parent)
