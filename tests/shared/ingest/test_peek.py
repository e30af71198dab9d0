"""A look at files nobody has described: format, delimiter, encoding, header, sample."""

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from shared.core.errors import AcceleratorError
from shared.ingest import peek as peeking
from shared.ingest.peek import Peeked, peek


def no_spark() -> SparkSession:
    pytest.fail("only a Delta table needs Spark")


def looked(path: Path, **options: Any) -> Peeked:
    return peek(str(path), no_spark, **options)


ROWS = "".join(f"{place};Köln;{place},5;3{place % 2}.01.2024\n" for place in range(60))


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("a,b\n1,2\n3,4\n", {"delimiter": ",", "encoding": "UTF-8"}),
        ("a\tb\n1\t2\n3\t4\n", {"delimiter": "\t"}),
        ("a|b\n1|2\n", {"delimiter": "|"}),
        ("\ufeffa;b\n1;2,5\n3;4,5\n", {"delimiter": ";", "decimal": ","}),
        (("a;b\n1;Köln\n").encode("cp1252"), {"delimiter": ";", "encoding": "windows-1252"}),
        (("a,b\n1,é\n").encode("utf-16"), {"encoding": "UTF-16", "multiline": True}),
        ('a,b\n1,"x\ny"\n2,z\n', {"multiline": True}),
        ('a,b\n1,"1,234.5"\n2,"2,000.0"\n', {"delimiter": ",", "thousands": ","}),
        ("1,2024-01-31,x\n2,2024-02-01,y\n", {"has_header": False}),
        ("  a  b\n 1  2\n 3  4\n", {"format": "words"}),
        ("a,b\n" + "1,NA\n2,3\n" * 20, {"null_value": "NA"}),
    ],
)
def test_how_a_text_file_is_written_is_found(content: str | bytes, settings: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "file.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())

    source = looked(file).source

    assert {name: getattr(source, name) for name in settings} == settings


def test_names_and_values_are_trimmed_and_kinds_found_in_a_compressed_file(tmp_path: Path) -> None:
    (tmp_path / "f.csv.gz").write_bytes(gzip.compress(f'"Nr." ; Stadt;Umsatz €;Seit\n{ROWS}'.encode("cp1252")))

    found = looked(tmp_path / "f.csv.gz")

    assert [column.name for column in found.columns] == ["Nr.", "Stadt", "Umsatz €", "Seit"]
    assert [column.kind.type for column in found.columns] == ["whole", "text", "number", "date"]
    assert found.columns[2].numbers[:2] == [0.5, 1.5]
    assert (found.rows_read, found.is_whole, found.source.encoding) == (60, True, "windows-1252")


def test_json_lines_say_themselves_what_is_a_number(tmp_path: Path) -> None:
    rows = [{"id": str(place), "n": place, "ok": True, "t": "2024-01-31", "deep": {"x": 1}} for place in range(5)]
    (tmp_path / "f.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"id": "9"}\n')

    kinds = {column.name: column.kind.type for column in looked(tmp_path / "f.jsonl").columns}

    assert kinds == {"id": "text", "n": "whole", "ok": "boolean", "t": "date", "deep": "nested"}


def test_a_folder_of_parquet_files_is_one_table(tmp_path: Path) -> None:
    for place in range(3):
        pq.write_table(
            pa.table({"id": [place], "at": pa.array([1], pa.timestamp("us"))}), tmp_path / f"{place}.parquet"
        )
    (tmp_path / "_SUCCESS").touch()

    found = looked(tmp_path)

    assert (found.rows, found.source.format, found.columns[1].kind.type) == (3, "parquet", "timestamp")


def test_a_delta_table_is_read_with_spark(spark: SparkSession, tmp_path: Path) -> None:
    rows = spark.createDataFrame([(1, "x"), (2, None)], "`my id` int, b string")
    rows.write.format("delta").option("delta.columnMapping.mode", "name").save(str(tmp_path / "t"))

    found = peek(str(tmp_path / "t"), lambda: spark)

    assert (found.source.format, [column.name for column in found.columns]) == ("delta", ["my id", "b"])
    assert sorted(map(str, found.columns[1].texts)) == ["None", "x"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_of_many_rows_every_so_many_are_kept_or_whole_histories(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peeking, "KEPT_ROWS", 100)
    ids, values = [place % 50 for place in range(1_000)], list(range(1_000))
    if kind == "csv":
        lines = "".join(f"{one},{other}\n" for one, other in zip(ids, values, strict=True))
        (tmp_path / "f.csv").write_text(f"id,value\n{lines}")
    else:
        pq.write_table(pa.table({"id": ids, "value": values}), tmp_path / "f.csv", row_group_size=77)

    spread = looked(tmp_path / "f.csv")
    whole = looked(tmp_path / "f.csv", entity="id", columns=["id"])

    numbers = [int(text or 0) for text in spread.columns[1].texts]
    assert {after - before for before, after in pairwise(numbers)} == {8}
    assert (spread.rows, spread.rows_read) == (125, 1_000)
    kept = list(whole.columns[0].texts)
    assert 0 < len(set(kept)) < 50
    assert {kept.count(each) for each in kept} == {20}


BROKEN: dict[str, tuple[str, bytes, int, str]] = {
    "empty": ("f.csv", b"", 3, "EMPTY_FILE"),
    "blank": ("f.csv", b"\n \n", 3, "EMPTY_FILE"),
    "header only": ("f.csv", b"a,b\n", 3, "EMPTY_SOURCE"),
    "binary": ("f.csv", bytes(range(256)) * 4, 3, "FILE_BINARY"),
    "workbook": ("f.xlsx", b"PK\x03\x04rest", 3, "FILE_BINARY"),
    "one column": ("f.csv", b"a\n1\n2\n", 3, "ONE_COLUMN"),
    "sentences": ("f.csv", b"Dear all,\nthis is a letter of mine\nbye\n", 3, "ONE_COLUMN"),
    "a name twice": ("f.csv", b"a,a\n1,2\n", 3, "COLUMNS_TWICE"),
    "truncated": (
        "f.csv.gz",
        gzip.compress(b"a,b\n" + bytes(str(list(range(9_000))), "ascii"))[:900],
        3,
        "FILE_TRUNCATED",
    ),
    "no Parquet": ("f.parquet", b"a,b\n1,2\n", 3, "FILE_UNREADABLE"),
    "broken Parquet": ("f.parquet", b"PAR1 and no more", 3, "FILE_UNREADABLE"),
    "JSON array": ("f.json", b"[\n" + b' {"a": 1},\n' * 30 + b"]\n", 3, "JSON_NOT_LINES"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_table_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    name, content, exit_code, code = BROKEN[kind]
    (tmp_path / name).write_bytes(content)

    with pytest.raises(AcceleratorError) as raised:
        looked(tmp_path / name)

    assert (raised.value.exit_code, raised.value.code) == (exit_code, code)
    assert "\n" not in str(raised.value)
    assert raised.value.next_step


@pytest.mark.parametrize("path", ["nowhere.csv", "s3a://bucket/f.csv"])
def test_a_path_that_is_not_here_is_a_usage_error(path: str, tmp_path: Path) -> None:
    with pytest.raises(AcceleratorError, match="SOURCE_MISSING") as raised:
        peek(path if "://" in path else str(tmp_path / path), no_spark)

    assert raised.value.exit_code == 2


def test_folders_of_parquet_give_their_column_and_files_may_lack_one(tmp_path: Path) -> None:
    for year, columns in ((2023, {"a": [1, 2], "b": ["x", "y"]}), (2024, {"b": ["z"]}), (2025, {"a": [2.5], "c": [1]})):
        (tmp_path / f"year={year}").mkdir()
        pq.write_table(pa.table(columns), tmp_path / f"year={year}" / "part.parquet")

    found = {column.name: column for column in looked(tmp_path).columns}

    assert set(found) == {"a", "b", "c", "year"}
    assert found["year"].texts == ["2023", "2023", "2024", "2025"]
    assert found["a"].numbers == [1, 2, None, 2.5]
    assert found["c"].texts == [None, None, None, "1"]


def test_nanoseconds_which_spark_refuses_are_refused_with_what_to_do(tmp_path: Path) -> None:
    times = pa.array([1, 2], pa.timestamp("ns"))
    pq.write_table(pa.table({"a": [1, 2], "at": times}), tmp_path / "t.parquet")

    with pytest.raises(AcceleratorError, match=r"nanoseconds.*\['at'\]") as found:
        looked(tmp_path / "t.parquet")

    assert found.value.code == "NANOSECONDS"


@pytest.mark.parametrize("unit", ["ms", "us"])
def test_coarser_times_of_parquet_are_read(unit: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2], "at": pa.array([1_000, 2_000], pa.timestamp(unit))}), tmp_path / "t.parquet")

    assert looked(tmp_path / "t.parquet").columns[1].kind.type == "timestamp"
