"""`python -m shared package`: one zip of the code for `spark-submit --py-files`.

It holds code and yaml only; packages from pip and the jars are the cluster's, named by requirements.lock and ivy.xml.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from shared.core.jars import root

_SUFFIXES = {".py", ".yaml", ".j2", ".properties", ".lock", ".xml"}
_FIXED_DATE = (2020, 1, 1, 0, 0, 0)  # the same code gives the same bytes


def write_package(target: Path) -> int:
    """Write the zip to ``target`` and return the number of files in it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files():
            entry = zipfile.ZipInfo(path.relative_to(root()).as_posix(), _FIXED_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
            count += 1
    return count


def _files() -> Iterator[Path]:
    packages = sorted(path.parent for path in root().glob("*/__init__.py") if path.parent.name != "tests")
    for package in packages:
        yield from sorted(p for p in package.rglob("*") if p.suffix in _SUFFIXES and "__pycache__" not in p.parts)
