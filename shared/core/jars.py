"""Which jars a session loads, resolved once and checked against `jars.lock` beside this module.

`python -m shared.core.jars` fetches what is missing with the Ivy that pyspark carries, from the coordinates in
`ivy.xml`; nothing is fetched when a session starts. Both files are read from a checkout, a wheel or a zip alike.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from shared.core.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

FOLDER_VARIABLE = "ACCELERATORS_JARS"


def root() -> Path:
    """Return the checkout, or the working folder of an installed copy."""
    checkout = Path(__file__).parents[2]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def folder() -> Path:
    """Return the folder of the jars: the variable ACCELERATORS_JARS, else `jars/` in `root`."""
    return Path(os.environ.get(FOLDER_VARIABLE) or root() / "jars")


def java() -> str:
    """Return the command of the Java that Spark will start: that of JAVA_HOME, else the one on the path."""
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else "java"


def read_lock() -> dict[str, str]:
    """Return `jars.lock`, which is in the format of `sha256sum`, as ``{"delta/x.jar": sha256}``."""
    lines = _beside("jars.lock").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines if line.strip())}


def paths(sets: Iterable[str]) -> list[Path]:
    """Return the jars of the named sets, each checked against `jars.lock`.

    Raises:
        ConfigError: a set is not in the lock.
        EnvironmentProblem: a jar is missing or differs from the lock.
    """
    lock = read_lock()
    found: list[Path] = []
    for name in sets:
        names = [key for key in lock if key.startswith(f"{name}/")]
        if not names:
            raise ConfigError("JARS_UNKNOWN", f"No set of jars '{name}' in jars.lock.", f"One of {_sets(lock)}.")
        found += [_checked(folder() / key, lock[key]) for key in names]
    return found


def resolve() -> None:
    """Fetch every jar of `ivy.xml` into `folder`, then check all of them against `jars.lock`.

    Raises:
        EnvironmentProblem: Ivy failed, or what it brought is not what the lock names.
    """
    spec = find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        raise EnvironmentProblem("PYSPARK_MISSING", "pyspark is not installed.", "", "Run make demo.")
    ivy = f"{spec.submodule_search_locations[0]}/jars/*"
    with tempfile.TemporaryDirectory() as cache, as_file(_beside("ivy.xml")) as coordinates:
        command = [
            *(java(), "-cp", ivy, "org.apache.ivy.Main", "-m2compatible", "-ivy", str(coordinates)),
            *("-cache", cache, "-retrieve", f"{folder()}/[conf]/[artifact]-[revision].[ext]"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not folder().is_dir():
        reason = next((line for line in done.stdout.splitlines() if "UNRESOLVED" in line or "ERROR" in line), "")
        raise EnvironmentProblem(
            "JARS_UNRESOLVED", f"Ivy could not fetch the jars. {reason.strip()}", "", "Check the network, then repeat."
        )
    paths(_sets(read_lock()))


def write_lock() -> None:
    """Write `jars.lock` from the jars at hand; for a maintainer who changed `ivy.xml`."""
    shutil.rmtree(folder(), ignore_errors=True)
    lock = Path(__file__).with_name("jars.lock")
    lock.write_text("")
    resolve()
    jars = sorted(folder().glob("*/*.jar"))
    lock.write_text("".join(f"{_sha256(jar)}  {jar.parent.name}/{jar.name}\n" for jar in jars))


def _beside(name: str) -> "Traversable":
    return files("shared.core") / name


def _checked(jar: Path, digest: str) -> Path:
    if not jar.is_file():
        raise EnvironmentProblem(
            "JAR_MISSING", f"{jar} is not there.", "", "Run python -m shared.core.jars (needs a network once)."
        )
    if _sha256(jar) != digest:
        raise EnvironmentProblem(
            "JAR_CHANGED", f"{jar} differs from jars.lock.", f"sha256 {digest}.", "Delete it and run make demo."
        )
    return jar


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()  # not file_digest: `doctor` runs on older Pythons too


def _sets(lock: dict[str, str]) -> list[str]:
    return sorted({key.split("/")[0] for key in lock})


if __name__ == "__main__":
    try:
        write_lock() if sys.argv[1:] == ["--write-lock"] else resolve()
    except EnvironmentProblem as problem:
        sys.exit(str(problem))
