"""Readers against files as people send them: good rows typed, bad rows explained, bad files refused in one sentence."""

import gzip
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from shared.core.columns import FAILURES, Column, Table
from shared.core.errors import AcceleratorError, ConfigError, DataError, EnvironmentProblem
from shared.ingest import readers, text_lines
from shared.ingest.failures import converted
from shared.ingest.problems import explained
from shared.ingest.source import Source

BILLS = Table(
    "silver_test_bills",
    (
        Column("bill_id", "int", nullable=False),
        Column("name", "string"),
        Column("amount", "double"),
        Column("due_date", "date"),
        Column("paid_ts", "timestamp"),
    ),
    key=("bill_id",),
)
HEADER = "bill_id,name,amount,due_date,paid_ts\n"
GOOD = "1,Ann,2.5,2024-05-01,2024-05-02 10:00:00\n"

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(content: str | bytes, name: str = "bills.csv") -> str:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(file)

    return put


def rows_of(spark: SparkSession, path: str, kind: str = "csv", table: Table = BILLS, **settings: Any) -> list[Row]:
    source = Source(format=kind, path=path, **settings)  # type: ignore[arg-type]
    with explained(path):
        parsed = readers.read(spark, source, table)
        return parsed.rows.withColumn(FAILURES, parsed.failures).orderBy("bill_id").collect()


def reasons(row: Row) -> list[tuple[str, str, str | None]]:
    return [(f["rule"], f["column"], f["value"]) for f in row["_failures"] or []]


def test_a_csv_file_is_typed_and_each_bad_row_says_which_field_and_why(spark: SparkSession, write: Write) -> None:
    path = write(
        HEADER
        + '1,"Ann, ""A""",2.5,2024-05-01,2024-05-02 10:00:00\r\n'
        + "2, Bob , ,,2024-05-02T10:00:00Z\n"
        + "3,Cy,abc,2024-13-01,\n"
        + "4,Di,1\n"
        + "5,Ed,1,,,extra\n"
        + '6,"Flo\n'
        + '7,5" pipe,1,,\n'
        + '8,Gus," ",,\n'
    )
    rows = {row["bill_id"]: row for row in rows_of(spark, path)}
    assert rows[1]["name"] == 'Ann, "A"'
    assert str(rows[1]["due_date"]) == "2024-05-01"
    assert rows[2]["name"] == "Bob"
    assert rows[2]["amount"] is None
    assert rows[2]["_failures"] is None
    assert reasons(rows[3]) == [("type", "amount", "abc"), ("type", "due_date", "2024-13-01")]
    assert rows[3]["_raw"] == "3,Cy,abc,2024-13-01,"
    assert reasons(rows[4]) == [("fields", "", "4,Di,1")]
    assert reasons(rows[5]) == [("fields", "", "5,Ed,1,,,extra")]
    assert reasons(rows[6]) == [("quote", "", '6,"Flo')]
    assert reasons(rows[7]) == []
    assert reasons(rows[8]) == []
    assert rows[1]["_source_file"].endswith("bills.csv")


def test_files_with_another_order_of_columns_do_not_mix_them_up(
    spark: SparkSession, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(HEADER + GOOD + "3,Cy,abc,,\n", "in/a [1].csv")
    second = write("\ufeffamount, name ,paid_ts,due_date,bill_id,junk\n3.5,Bob,,,2,x\nxyz,Di,,,4,\n", "in/b c.csv")
    folder = str(Path(second).parent)
    few = rows_of(spark, folder, ignore=("junk",))
    monkeypatch.setattr(text_lines, "_FEW_FILES", 1)
    many = rows_of(spark, folder, ignore=("junk",))
    for rows in few, many:
        good, wrong = rows[:2], rows[2:]
        assert [(r["bill_id"], r["name"], r["amount"]) for r in good] == [(1, "Ann", 2.5), (2, "Bob", 3.5)]
        assert [reasons(row) for row in wrong] == [[("type", "amount", "abc")], [("type", "amount", "xyz")]]


@pytest.mark.parametrize("kind", ["csv", "json", "parquet", "words"])
def test_an_ignored_column_may_have_the_name_that_another_is_mapped_to(
    kind: str, spark: SparkSession, write: Write
) -> None:
    table = Table("silver_test_sales", (Column("bill_id", "int"), Column("amount", "double")), key=("bill_id",))
    content = {
        "csv": "bill_id,revenue,amount\n1,2.5,9.0\n",
        "words": "bill_id revenue amount\n1 2.5 9.0\n",
        "json": '{"bill_id": 1, "revenue": 2.5, "amount": 9.0}\n',
    }
    path = write(content.get(kind, ""), f"sales.{kind}")
    if kind == "parquet":
        pq.write_table(pa.table({"bill_id": pa.array([1], pa.int32()), "revenue": [2.5], "amount": [9.0]}), path)

    row = rows_of(spark, path, kind, table, columns={"revenue": "amount"}, ignore=("amount",))[0]

    assert (row["amount"], reasons(row)) == (2.5, [])


def test_ignored_columns_do_not_shift_the_reasons(spark: SparkSession, write: Write) -> None:
    path = write("junk,bill_id,name,amount,due_date,paid_ts\nx,1,Ann,abc,,\n")
    assert reasons(rows_of(spark, path, ignore=("junk",))[0]) == [("type", "amount", "abc")]


def test_records_over_several_lines_are_read_when_asked_for(spark: SparkSession, write: Write) -> None:
    rows = rows_of(spark, write(HEADER + '1,"Ann\nB",2.5,,\n2,"C\nD",abc,,\n'), multiline=True)
    assert rows[0]["name"] == "Ann\nB"
    assert reasons(rows[1]) == [("type", "amount", "abc")]


@pytest.mark.parametrize(
    ("encoding", "bytes_in"),
    [("latin1", "latin-1"), ("windows-1252", "cp1252"), ("utf-16", "utf-16"), ("utf8", "utf-8-sig")],
)
def test_the_encoding_is_followed(spark: SparkSession, write: Write, encoding: str, bytes_in: str) -> None:
    name = "Zoë €" if bytes_in != "latin-1" else "Zoë"
    path = write((HEADER + f"1,{name},2.5,,\n").encode(bytes_in))
    rows = rows_of(spark, path, encoding=encoding, multiline=encoding == "utf-16")
    assert rows[0]["name"] == name


def test_other_delimiters_nulls_and_mapped_names_are_read(spark: SparkSession, write: Write) -> None:
    path = write("ID||name||amount||due_date||paid_ts\n1||A|B||NA||01.05.2024||\n")
    row = rows_of(spark, path, delimiter="||", columns={"ID": "bill_id"}, null_value="NA", date_format="dd.MM.yyyy")[0]
    assert (row["bill_id"], row["name"], row["amount"], str(row["due_date"])) == (1, "A|B", None, "2024-05-01")


def test_a_blank_is_no_date_even_where_every_part_of_the_format_is_optional(spark: SparkSession) -> None:
    source = Source(format="parquet", path="any", date_format="[dd.MM.yyyy][yyyy-MM-dd]")
    texts = spark.createDataFrame([(" ",), ("",), ("2024-05-01",)], "text string")

    dates = [row[0] for row in texts.select(converted(F.col("text"), "string", "date", source)).collect()]

    assert dates == [None, None, date(2024, 5, 1)]


def test_numbers_and_dates_are_read_as_each_source_and_column_writes_them(spark: SparkSession, write: Write) -> None:
    formats = {"due_date": "d.M.yyyy", "paid_ts": "unix_millis"}
    good = "1;Ann;1.234,5;1.5.2024;1714644000500\n"
    path = write(HEADER.replace(",", ";") + good + "2;Bob;1.5;2024-05-01;soon\n3;Cy;-,5;31.12.2024;\n")

    first, second, third = rows_of(spark, path, delimiter=";", decimal=",", thousands=".", formats=formats)

    assert (first["amount"], str(first["due_date"]), first["_failures"]) == (1234.5, "2024-05-01", None)
    assert str(first["paid_ts"]) == "2024-05-02 10:00:00.500000"
    wrong = [("type", "amount", "1.5"), ("type", "due_date", "2024-05-01"), ("type", "paid_ts", "soon")]
    assert reasons(second) == wrong
    assert (third["amount"], third["paid_ts"], third["_failures"]) == (-0.5, None, None)


def test_whole_numbers_of_other_formats_are_times_where_the_settings_say_so(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = "1 AS bill_id, 'x' AS name, 2.0D AS amount, DATE'2024-05-01' AS due_date, 1714644000L AS paid_ts"
    spark.range(1).selectExpr(*rows.split(", ")).write.parquet(str(tmp_path / "p"))

    (row,) = rows_of(spark, str(tmp_path / "p"), "parquet", formats={"paid_ts": "unix_seconds"})

    assert (str(row["paid_ts"]), row["_failures"]) == ("2024-05-02 10:00:00", None)


def test_words_without_a_header_may_have_fields_that_are_ignored(spark: SparkSession, write: Write) -> None:
    columns = {"c1": "bill_id", "c2": "c2", "c3": "amount"}
    table = Table("silver_test_words", (Column("bill_id", "int"), Column("amount", "double")))

    (row,) = rows_of(
        spark, write(" 1 x  2.5\n", "w.txt"), "words", table, has_header=False, columns=columns, ignore=("c2",)
    )

    assert (row["bill_id"], row["amount"], row["_failures"]) == (1, 2.5, None)


def test_one_mark_cannot_part_thousands_and_decimals() -> None:
    with pytest.raises(ConfigError, match="NUMBERS_INVALID"):
        Source(decimal=",", thousands=",")


def test_a_file_without_a_header_takes_its_names_from_the_config(spark: SparkSession, write: Write) -> None:
    names = {str(place): name for place, name in enumerate(BILLS.names)}
    assert rows_of(spark, write(GOOD), has_header=False, columns=names)[0]["name"] == "Ann"


def test_words_between_blanks_are_typed(spark: SparkSession, write: Write) -> None:
    table = Table("silver_test_w", BILLS.columns[:1] + BILLS.columns[2:4])
    path = write(" bill_id  amount due_date\n   1   2.50  20240501 \n 2 x 20240501\n\n3 1\n", "w.txt")
    rows = rows_of(spark, path, "words", table, date_format="yyyyMMdd")
    assert (rows[0]["amount"], str(rows[0]["due_date"])) == (2.5, "2024-05-01")
    assert [reasons(row) for row in rows] == [[], [("type", "amount", "x")], [("fields", "", "3 1")]]


def test_a_long_text_after_an_open_quote_is_one_rejected_row(spark: SparkSession, write: Write) -> None:
    path = write('bill_id,name,amount,due_date,paid_ts\n1,"' + "x" * 100_000 + ",1,,\n2,Bob,2,,\n", "bills.csv")
    rows = rows_of(spark, path, "csv")
    assert [[rule for rule, *_ in reasons(row)] if row["_failures"] else [] for row in rows] == [["quote"], []]


def test_json_lines_keep_every_key_or_put_the_record_aside(spark: SparkSession, write: Write) -> None:
    path = write(
        '{"bill_id": 1, "name": "Ann", "amount": 2.5, "due_date": "2024-05-01", "paid_ts": "2024-05-02T10:00:00Z"}\n'
        '{"bill_id": 2, "amount": "abc"}\n\n{"bill_id": 3, "nick.name": "x"}\n{"bill_id": 4\n[5]\n',
        "bills.jsonl",
    )
    rows = rows_of(spark, path, "json")
    assert sorted(reasons(row) for row in rows if row["bill_id"] is None) == [
        [("json", "", "[5]")],
        [("json", "", '{"bill_id": 4')],
    ]
    found = {row["bill_id"]: row for row in rows}
    assert (found[1]["name"], str(found[1]["due_date"]), found[1]["_failures"]) == ("Ann", "2024-05-01", None)
    assert reasons(found[2]) == [("type", "amount", "abc")]
    assert reasons(found[3]) == [("undeclared", "", "nick.name")]


def test_parquet_values_that_do_not_fit_are_failures_not_roundings(spark: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "bills")
    values = "1.0D bill_id, 'Ann' name, '2.5' amount, '2024-05-01' due_date, timestamp'2024-05-02' paid_ts"
    odd = "2.5D bill_id, 'Bob' name, 'abc' amount, '' due_date, null paid_ts"
    spark.sql(f"SELECT {values} UNION ALL SELECT {odd}").write.parquet(path)
    bad, good = rows_of(spark, path, "parquet")
    assert (good["bill_id"], good["amount"], str(good["due_date"])) == (1, 2.5, "2024-05-01")
    assert good["_failures"] is None
    assert reasons(bad) == [("type", "bill_id", "2.5"), ("type", "amount", "abc")]
    assert '"amount":"abc"' in bad["_raw"]


def test_delta_is_a_source(spark: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "bills")
    spark.createDataFrame([(1, "Ann", 2.5, None, None)], BILLS.ddl()).write.format("delta").save(path)
    assert rows_of(spark, path, "delta")[0]["_failures"] is None


ZIPPED = gzip.compress((HEADER + "".join(f"{i},name {i * 7919},{i}.5,,\n" for i in range(20_000))).encode())


@pytest.mark.parametrize(
    ("content", "settings", "family", "code", "words"),
    [
        ("", {}, DataError, "EMPTY_FILE", "bills.csv is empty"),
        ("bill_id,name,amount,due_date\n", {}, DataError, "SCHEMA_MISMATCH", "lacks columns ['paid_ts']"),
        (
            HEADER.replace("amount", "amounts"),
            {},
            DataError,
            "SCHEMA_MISMATCH",
            "lacks columns ['amount'] and has columns ['amounts'] that are not declared. The columns of "
            "silver_test_bills. Did you mean 'amounts'?",
        ),
        (HEADER.replace("name", "name,age"), {}, DataError, "SCHEMA_MISMATCH", "has columns ['age']"),
        (HEADER.replace("name", "name,name"), {}, DataError, "SCHEMA_MISMATCH", "has columns ['name'] twice"),
        (HEADER.replace(",", ";"), {}, DataError, "WRONG_DELIMITER", "It looks like ';'"),
        (HEADER, {"delimiter": ";"}, DataError, "WRONG_DELIMITER", "It looks like ','"),
        (HEADER.encode("utf-16"), {}, DataError, "WRONG_ENCODING", "is not UTF-8"),
        (HEADER.replace("name", "naïve").encode("latin-1"), {}, DataError, "WRONG_ENCODING", "is not UTF-8"),
        (HEADER, {"columns": {"id": "bill"}}, ConfigError, "COLUMNS_INVALID", "Did you mean 'bill_id'?"),
        (HEADER, {"encoding": "utf-16"}, ConfigError, "ENCODING_UNKNOWN", "Change multiline"),
    ],
)
def test_a_file_that_is_not_the_declared_one_is_refused(
    spark: SparkSession,
    write: Write,
    content: str | bytes,
    settings: dict[str, Any],
    family: type[AcceleratorError],
    code: str,
    words: str,
) -> None:
    with pytest.raises(family) as caught:
        rows_of(spark, write(content), **settings)
    assert caught.value.code == code
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name", "content", "family", "code"),
    [
        ("csv", "bills.csv.gz", ZIPPED[: len(ZIPPED) // 2], DataError, "FILE_TRUNCATED"),
        ("csv", "bills.csv.gz", HEADER.encode(), DataError, "FILE_TRUNCATED"),
        ("parquet", "bills.parquet", b"PAR1 not really PAR1", DataError, "FILE_UNREADABLE"),
        ("json", "bills.json", b'{"other": 1}\n{"other": 2}\n', DataError, "SCHEMA_MISMATCH"),
        ("json", "bills.json", b"[]\n", DataError, "EMPTY_FILE"),
        ("delta", "folder/x.txt", b"x", ConfigError, "SOURCE_MISSING"),
    ],
)
def test_a_broken_file_is_refused_by_its_name(
    spark: SparkSession, write: Write, kind: str, name: str, content: bytes, family: type[AcceleratorError], code: str
) -> None:
    path = write(content, name)
    path = str(Path(path).parent) if kind == "delta" else path
    with pytest.raises(family) as caught:
        rows_of(spark, path, kind)
    assert caught.value.code == code
    assert Path(path).name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "json", "words", "parquet", "delta"])
def test_a_path_with_nothing_is_a_config_error(spark: SparkSession, tmp_path: Path, kind: str) -> None:
    with pytest.raises(ConfigError, match=r"SOURCE_MISSING.*nowhere"):
        rows_of(spark, str(tmp_path / "nowhere"), kind)


@pytest.mark.parametrize(
    ("uri", "jar"),
    [
        ("s3a://bucket/x", "hadoop-aws"),
        ("abfss://c@a.dfs.core.windows.net/x", "hadoop-azure"),
        ("gs://bucket/x", "gcs-connector"),
    ],
)
def test_a_cloud_path_without_its_jar_names_the_jar(spark: SparkSession, uri: str, jar: str) -> None:
    with pytest.raises(EnvironmentProblem, match=rf"FILESYSTEM_MISSING.*{jar}"):
        rows_of(spark, uri, "parquet")


def test_parquet_files_with_different_columns_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    good = spark.createDataFrame([(1, "Ann", 2.5, None, None)], BILLS.ddl())
    good.write.parquet(str(tmp_path / "bills"))
    good.withColumnRenamed("amount", "amounts").write.mode("append").parquet(str(tmp_path / "bills"))
    with pytest.raises(DataError, match=r"SCHEMA_MISMATCH.*'amounts'"):
        rows_of(spark, str(tmp_path / "bills"), "parquet")
