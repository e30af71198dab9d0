"""A bounded look at a file or folder nobody has described: its format, its columns and a sample of rows, without Spark.

Only Delta tables are opened with Spark. All rows are looked at up to two million; what is kept are every 2^k-th of them,
or all rows of every 2^k-th customer, so that histories stay whole.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shared.core.errors import ConfigError, DataError
from shared.core.kinds import Kind, Sampled, kind_of, null_marker, number_format, numbers_of, numeric_kind
from shared.ingest.sniff import sniffed, text_records
from shared.ingest.source import Format, Source

KEPT_ROWS: Final = 20_000
_READ_ROWS: Final = 2_000_000
_READ_FILES: Final = 500
_MOST_SHIFTS: Final = 24  # a single entity with all the rows cannot be thinned
_HIDDEN = ("_", ".")
_JSON = (".json", ".jsonl", ".ndjson")
_PARQUET_MAGIC = b"PAR1"

Record = Sequence[Any]


@dataclass(frozen=True)
class Peeked:
    """What a look at a source showed.

    Args:
        source: how to read it; ``columns`` and ``ignore`` are for the caller to fill.
        columns: a sample of every column; rows are in the order of the source.
        rows_read: rows looked at; the sample is some of them.
        is_whole: these are all rows there are.
    """

    source: Source
    columns: Sequence[Sampled]
    rows_read: int
    is_whole: bool

    @property
    def rows(self) -> int:
        """Rows of the sample."""
        return len(self.columns[0].texts) if self.columns else 0


@dataclass
class _Thinned:
    """Keeps every 2^k-th record, or every record of every 2^k-th entity, so that at most twice the limit are held."""

    limit: int
    entity: int | None
    records: list[Record] = field(default_factory=list)
    seen: int = 0
    shift: int = 0

    def add(self, record: Record) -> None:
        place, self.seen = self.seen, self.seen + 1
        if self.entity is not None and record[self.entity] in (None, ""):
            return  # nobody's history
        if self._is_kept(place, record):
            self.records.append(record)
        if len(self.records) > 2 * self.limit and self.shift < _MOST_SHIFTS:
            self.shift += 1
            whole = self.records
            self.records = whole[::2] if self.entity is None else [each for each in whole if self._is_kept(0, each)]

    def add_batch(self, batch: pa.RecordBatch) -> None:
        if self.entity is not None:
            for record in _tuples(batch):
                self.add(record)
            return
        step = 2**self.shift
        self.records.extend(_tuples(batch.take(pa.array(range(-self.seen % step, batch.num_rows, step), pa.int64()))))
        self.seen += batch.num_rows
        while len(self.records) > 2 * self.limit:
            self.shift += 1
            self.records = self.records[::2]

    def _is_kept(self, place: int, record: Record) -> bool:
        key = place if self.entity is None else crc32(str(record[self.entity]).encode())
        return bool(key % 2**self.shift == 0)


def peek(path: str, spark: Callable[[], SparkSession], *, entity: str = "", columns: Sequence[str] = ()) -> Peeked:
    """Look at the CSV, JSON lines, Parquet or Delta at a local ``path``: a file, or a folder of files alike.

    Args:
        path: the file or folder.
        spark: makes a session; called for a Delta table only.
        entity: column whose rows are kept or left out together; rows without it are left out.
        columns: keep these only; all when empty.

    Raises:
        ConfigError: there is nothing at the path, or it is no local one.
        DataError: it is empty or broken, holds no table, or has a single column.
    """
    place = Path(path)
    if "://" in path or not place.exists():
        raise ConfigError(
            "SOURCE_MISSING", f"Nothing at {path}.", "A file or folder on this machine.", "Check the path."
        )
    if (place / "_delta_log").is_dir():
        return _of_delta(spark(), path, entity, columns)
    files = _files(place)
    match _format(files):
        case "parquet":
            source, names, records = Source(format="parquet", path=path), *_parquet(files, place)
        case "json":
            source = Source(format="json", path=path)
            names, records = _json(files)
        case _:
            source, names = sniffed(files[0], path)
            records = text_records(_chosen(files), source, names)
    _check_width(path, names)
    is_typed = source.format == "parquet"
    found, kept = _collected(records, names, entity, columns)
    several = len(_chosen(files)) < len(files)
    is_whole = found.seen < _READ_ROWS and not several
    return _peeked(source, kept, found, is_whole=is_whole, is_typed=is_typed)


def _files(place: Path) -> list[Path]:
    """Return the files with content, those of a folder sorted by path; hidden ones are no data."""
    inside = sorted(place.rglob("*")) if place.is_dir() else [place]
    files = [file for file in inside if file.is_file() and not _is_hidden(file.relative_to(place))]
    filled = [file for file in files if file.stat().st_size]
    if not filled:
        raise DataError("EMPTY_FILE", f"{place} is empty.", "A header and rows.", "Check the export.")
    return filled


def _is_hidden(inside: Path) -> bool:
    return any(part.startswith(_HIDDEN) and part != "." for part in inside.parts)


def _format(files: Sequence[Path]) -> Format:
    first = files[0]
    with first.open("rb") as file:
        start = file.read(4)
    if start == _PARQUET_MAGIC:
        return "parquet"
    if first.suffix == ".parquet":
        raise DataError("FILE_UNREADABLE", f"{first} is no Parquet file.", "", "Check the export.")
    name = first.name.removesuffix(".gz").lower()
    return "json" if name.endswith(_JSON) or start.lstrip()[:1] == b"{" else "csv"


def _chosen(files: Sequence[Path]) -> list[Path]:
    """Return at most a few hundred of the files, evenly spread."""
    step = -(-len(files) // _READ_FILES)
    return list(files[::step])


def _parquet(files: Sequence[Path], place: Path) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    """Return the columns of all files, with those that names of folders such as ``year=2024`` give, and the rows."""
    chosen = _chosen(files)
    schemas = [_schema(file) for file in chosen]
    base = str(place if place.is_dir() else place.parent)
    given = [str(file) for file in chosen]
    try:
        placed = ds.dataset(given, format="parquet", partitioning="hive", partition_base_dir=base).schema
        known = pa.unify_schemas([*schemas, placed], promote_options="permissive")
        options = {"schema": known, "partitioning": "hive", "partition_base_dir": base}
        fragments = list(ds.dataset(given, format="parquet", **options).get_fragments())
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError("FILES_DIFFER", f"{place}: {reason}.", "Files of one kind.", "Check the export.") from error

    def batches() -> Iterator[pa.RecordBatch]:
        for fragment in fragments:
            try:
                yield from fragment.to_batches(schema=known)
            except (pa.ArrowInvalid, OSError) as error:
                raise _unreadable(fragment.path, error) from error

    rows = (batch for batch in batches() if batch.num_rows)
    first = next(rows, None)
    if first is None:
        raise DataError("EMPTY_SOURCE", f"{files[0]} has no rows.", "At least one.", "Check the export.")
    return known.names, chain([first], rows)


def _schema(file: Path) -> pa.Schema:
    """Return the columns of a file that Spark can read, too."""
    try:
        with pq.ParquetFile(file) as opened:
            nanos = [each.name for each in opened.schema if "nanoseconds" in str(each.logical_type)]
            schema = opened.schema_arrow
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error) from error
    if nanos:
        raise DataError(
            "NANOSECONDS",
            f"{file} has times in nanoseconds, which Spark does not read: {nanos}.",
            "Microseconds.",
            "Write it anew, with pandas: to_parquet(…, coerce_timestamps='us', allow_truncated_timestamps=True).",
        )
    return schema


def _unreadable(file: object, error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError("FILE_UNREADABLE", f"{file} cannot be read: {reason}.", "", "Check the export.")


def _json(files: Sequence[Path]) -> tuple[list[str], Iterator[Record]]:
    source = Source(format="json")
    known: dict[str, None] = {}
    for record in islice(_objects(files, source), 1_000):
        known.update(dict.fromkeys(record))
    names = list(known)
    return names, ([record.get(name) for name in names] for record in _objects(files, source))


def _objects(files: Sequence[Path], source: Source) -> Iterator[dict[str, Any]]:
    broken = 0
    for place, (line,) in enumerate(text_records(_chosen(files), source, ["line"])):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if isinstance(found, dict):
            yield found
            continue
        broken += 1
        if broken > 10 and broken > place / 10:
            raise DataError(
                "JSON_NOT_LINES",
                f"{files[0]} holds lines that are no JSON objects, e.g. {line[:40]!r}.",
                "JSON lines: one object a line.",
                "Convert it, e.g. with jq -c '.[]'.",
            )


def _collected(
    records: Iterable[Any], names: Sequence[str], entity: str, columns: Sequence[str]
) -> tuple[_Thinned, list[str]]:
    wanted = list(columns) or list(names)
    places = [list(names).index(name) for name in wanted]
    found = _Thinned(KEPT_ROWS, wanted.index(entity) if entity else None)
    for item in records:
        if isinstance(item, pa.RecordBatch):
            found.add_batch(item.select(wanted))
        else:
            found.add([item[place] for place in places] if columns else item)
        if found.seen >= _READ_ROWS:
            break
    if not found.records:
        raise DataError("EMPTY_SOURCE", "There are no rows below the header.", "At least one.", "Check the export.")
    return found, wanted


def _tuples(batch: pa.RecordBatch) -> Iterator[Record]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _check_width(path: str, names: Sequence[str]) -> None:
    if len(names) < 2:
        raise DataError(
            "ONE_COLUMN",
            f"{path} has a single column, {names[0][:40]!r}." if names else f"{path} has no columns.",
            "At least an id and one more.",
            "Check how it is written: fields between , ; tab | or blanks are known.",
        )


def _of_delta(spark: SparkSession, path: str, entity: str, columns: Sequence[str]) -> Peeked:
    rows = spark.read.format("delta").load(path)
    total = rows.count()
    rows = rows.select(*(F.col(_quoted(name)) for name in columns)) if columns else rows
    share = min(1.0, KEPT_ROWS / max(total, 1))
    if share < 1:
        bucket = F.pmod(F.xxhash64(_quoted(entity)), F.lit(10_000)) if entity else None
        rows = rows.sample(share, seed=1) if bucket is None else rows.where(bucket < int(10_000 * share) + 1)
    found = _Thinned(KEPT_ROWS, None)
    table = rows.limit(2 * KEPT_ROWS).toArrow()
    for batch in table.to_batches():
        found.add_batch(batch)
    _check_width(path, table.schema.names)
    if not found.records:
        raise DataError("EMPTY_SOURCE", f"{path} has no rows.", "At least one.", "Check the table.")
    found.seen = total
    return _peeked(
        Source(format="delta", path=path), list(table.schema.names), found, is_whole=share == 1, is_typed=True
    )


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def _peeked(source: Source, names: Sequence[str], found: _Thinned, *, is_whole: bool, is_typed: bool) -> Peeked:
    columns = [list(values) for values in zip(*found.records, strict=True)]
    if is_typed or source.format == "json":
        sampled = [_typed(name, values) for name, values in zip(names, columns, strict=True)]
        return Peeked(source, sampled, found.seen, is_whole)
    marker = null_marker(columns)
    columns = [[None if text == marker or not text else text for text in values] for values in columns]
    marks = number_format(columns)
    kinds = [kind_of(name, values, marks) for name, values in zip(names, columns, strict=True)]
    sampled = [
        Sampled(name, kind, values, numbers_of(values, kind, marks))
        for name, kind, values in zip(names, kinds, columns, strict=True)
    ]
    written = source.model_copy(update={"null_value": marker, "decimal": marks[0], "thousands": marks[1]})
    return Peeked(written, sampled, found.seen, is_whole)


def _typed(name: str, values: Sequence[Any]) -> Sampled:
    """Return a column of JSON, Parquet or Delta, which says itself what is a number; only of texts the kind is found."""
    filled = [value for value in values if value is not None]
    texts = [None if value is None else _text(value) for value in values]
    if any(isinstance(value, dict | list | tuple | bytes) for value in filled):
        kind = Kind("nested")
    elif filled and all(isinstance(value, bool) for value in filled):
        kind = Kind("boolean")
    elif filled and all(not isinstance(value, str | bool) for value in filled) and not hasattr(filled[0], "year"):
        kind = numeric_kind(name, [text for text in texts if text is not None])
        if any("." in _text(value) for value in filled) and kind.type == "whole":
            kind = Kind("number")
    else:
        kind = kind_of(name, texts)
        if kind.is_number or (kind.is_time and kind.pattern == "yyyyMMdd"):
            kind = Kind("text")  # digits between quotes are no number to Spark
    return Sampled(name, kind, texts, numbers_of(texts, kind))


def _text(value: Any) -> str:
    """Return a value as Spark writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat(sep=" ") if hasattr(value, "hour") else str(value)
