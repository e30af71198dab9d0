"""How a text file is written: encoding, delimiter, header, quotes; found from its beginning and never asked of the user."""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from shared.core.errors import DataError
from shared.core.kinds import kind_of
from shared.ingest.source import Source

_DELIMITERS: Final = (",", ";", "\t", "|")
_BEGINNING: Final = 1 << 20
_LINES: Final = 200
_PYTHON: Final = {"UTF-8": "utf-8-sig", "windows-1252": "cp1252", "ISO-8859-1": "iso8859-1", "UTF-16": "utf-16"}
_CONTAINERS: Final = {b"PK\x03\x04": "a zip file or a workbook", b"%PDF": "a PDF", b"SQLi": "a SQLite database"}


def sniffed(file: Path, path: str) -> tuple[Source, list[str]]:
    """Return how ``file`` is written, as the source of all files at ``path``, and the names of its columns.

    A file without a header has columns ``c1``, ``c2``, ….

    Raises:
        DataError: it is empty, no text, truncated, or has a name twice.
    """
    start = _beginning(file)
    encoding = _encoding(start, file)
    text = start.decode(_PYTHON[encoding], errors="replace")
    if not text.strip():
        raise DataError("EMPTY_FILE", f"{file} is empty.", "A header and rows.", "Check the export.")
    lines = text.splitlines()
    lines = lines[:_LINES] if len(lines) == 1 or len(start) < _BEGINNING else lines[: min(_LINES, len(lines) - 1)]
    delimiter = _delimiter(lines)
    if delimiter is None:
        return _words(path, encoding, lines)
    records = _parsed("\n".join(lines), delimiter)
    multiline = encoding == "UTF-16" or any("\n" in value for record in records for value in record)
    if multiline and encoding == "windows-1252":
        encoding = "ISO-8859-1"  # Spark reads records of several lines in this one
    has_header = _is_header(records)
    source = Source(
        format="csv", path=path, delimiter=delimiter, encoding=encoding, multiline=multiline, has_header=has_header
    )
    return source, _names(records[0], has_header, file)


def text_records(files: Sequence[Path], source: Source, names: Sequence[str]) -> Iterator[list[Any]]:
    """Return the records of text files as ``source`` says they are written; those of another length are left out.

    Raises:
        DataError: a compressed file is truncated.
    """
    for file in files:
        try:
            with _opened(file, _PYTHON[source.encoding]) as text:
                yield from _records(text, source, len(names))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                "FILE_TRUNCATED", f"{file} ends too early.", "A whole gzip file.", "Copy it again."
            ) from error


def _records(text: TextIO, source: Source, width: int) -> Iterator[list[Any]]:
    if source.format == "json":
        yield from ([line] for line in text)
        return
    if source.format == "words":
        found: Iterator[list[str]] = (line.split() for line in text)
    else:
        csv.field_size_limit(_BEGINNING)
        found = csv.reader(text, delimiter=source.delimiter)
    header: list[str] | None = None
    for record in found:
        trimmed = [field.strip() for field in record]
        if header is None and source.has_header:
            header = trimmed
        elif len(trimmed) == width and trimmed != header:
            yield trimmed


def _beginning(file: Path) -> bytes:
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rb") as raw:
            return bytes(raw.read(_BEGINNING))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError("FILE_TRUNCATED", f"{file} is no whole gzip file.", "", "Copy it again.") from error


def _opened(file: Path, encoding: str) -> TextIO:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding=encoding, errors="replace", newline="")
    return file.open(encoding=encoding, errors="replace", newline="")


def _encoding(start: bytes, file: Path) -> str:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "UTF-16"
    if b"\x00" in start or start[:4] in _CONTAINERS:
        what = _CONTAINERS.get(start[:4], "a binary file")
        raise DataError(
            "FILE_BINARY", f"{file} is {what}.", "CSV, JSON lines, Parquet or Delta.", "Export it as one of these."
        )
    # A character may be cut in two where the beginning ends.
    for encoding in ("UTF-8", "windows-1252"):
        try:
            start[: -4 if len(start) == _BEGINNING else None].decode(_PYTHON[encoding])
        except UnicodeDecodeError:
            continue
        return encoding
    return "ISO-8859-1"


def _delimiter(lines: Sequence[str]) -> str | None:
    """Return the delimiter that splits most lines into equally many fields, more than one; None when none does.

    >>> _delimiter(["a;b", "1,5;2"]), _delimiter(["a b", "1 2"])
    (';', None)
    """
    best: tuple[float, int] = (0.9, 1)
    chosen = None
    for delimiter in _DELIMITERS:
        widths = Counter(len(record) for record in _parsed("\n".join(lines), delimiter))
        width, count = widths.most_common(1)[0] if widths else (1, 0)
        share = count / max(sum(widths.values()), 1)
        if width > 1 and (round(share, 2), width) > best:
            best, chosen = (round(share, 2), width), delimiter
    return chosen


def _parsed(text: str, delimiter: str) -> list[list[str]]:
    records = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    return [[field.strip() for field in record] for record in records if record]


def _words(path: str, encoding: str, lines: Sequence[str]) -> tuple[Source, list[str]]:
    records = [line.split() for line in lines if line.strip()]
    has_header = _is_header(records)
    source = Source(format="words", path=path, encoding=encoding, has_header=has_header)
    alike = sum(len(record) == len(records[0]) for record in records)
    if alike < 0.9 * len(records):  # sentences, not a table
        return source, [lines[0]]
    return source, _names(records[0], has_header, Path(path))


def _is_header(records: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first record names columns: texts only."""
    first = [name for name in records[0] if name]
    return bool(first) and all(kind_of("", [name]).type == "text" for name in first)


def _names(first: Sequence[str], has_header: bool, file: Path) -> list[str]:
    if not has_header:
        return [f"c{place}" for place in range(1, len(first) + 1)]
    names = [name.strip('"').strip() for name in first]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError("COLUMNS_TWICE", f"{file} has columns {twice} twice.", "Each once.", "Rename one of them.")
    return names
