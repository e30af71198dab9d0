"""Which code is running, so that what other code made is not taken for its own."""

from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

_SUFFIXES = (".py", ".yaml")


@cache
def code_digest(*packages: str) -> str:
    """Return one digest of the sources of ``packages``, in a folder or in a zip; what it was at the first call, it stays."""
    found = sha256()
    for package in packages:
        for file in _sources(files(package)):
            found.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()


def _sources(folder: Traversable) -> Iterator[Traversable]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _sources(item)
        elif item.name.endswith(_SUFFIXES):
            yield item
