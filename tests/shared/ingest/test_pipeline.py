"""The whole ingestion: every row is accounted for, and what is refused or killed changes nothing."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from shared.core.columns import INGEST_ID, INGESTED_TS, Column, Table
from shared.core.errors import DataError
from shared.delta.read import read
from shared.delta.tables import TableRef, Warehouse
from shared.delta.write import Write
from shared.ingest import pipeline
from shared.ingest.pipeline import IngestResult, accounted, land, publish
from shared.ingest.source import Source
from shared.quality.expectations import in_range, volume

BILLS = Table(
    "silver_test_bills",
    (
        Column("bill_id", "int", nullable=False),
        Column("name", "string", pii=True),
        Column("amount", "double", check="amount IS NULL OR amount >= 0"),
    ),
    key=("bill_id",),
)
TABLES = ("bronze_test_bills", "silver_test_bills", "quarantine_test_bills")
HEADER = "bill_id,name,amount\n"


def csv(path: Path, text: str) -> Source:
    path.write_text(text)
    return Source(format="csv", path=str(path))


def ingest(spark: SparkSession, source: Source, table: Table, warehouse: Warehouse, **options: Any) -> IngestResult:
    return publish(land(spark, source, table, warehouse, **options))


@pytest.fixture(scope="module")
def ingested(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ingested")
    source = csv(folder / "good.csv", HEADER + "7,Gus,7\n")
    ingest(spark, source, BILLS, Warehouse(str(folder / "warehouse")), ingest_id="good")
    return folder / "warehouse"


@pytest.fixture
def warehouse(ingested: Path, tmp_path: Path) -> Warehouse:
    """A warehouse that holds bill 7, of Gus."""
    return Warehouse(str(shutil.copytree(ingested, tmp_path / "warehouse")))


def contents(spark: SparkSession, warehouse: Warehouse) -> dict[str, DataFrame]:
    """Rows of the three tables without what names the run, and the versions by which they would be told apart."""
    tables = {name: read(spark, warehouse.table(name)) for name in TABLES}
    return {name: rows.drop(INGEST_ID, INGESTED_TS) for name, rows in tables.items()}


def test_every_row_is_in_silver_or_in_quarantine_with_its_text_and_reasons(spark: SparkSession, tmp_path: Path) -> None:
    good = "".join(f"{i},name {i},{i}.5\n" for i in range(10, 60))
    bad = "1,Ann,abc\n2,Bob,-3\n,Cy,1\n3,Di,1\n3,Ed,2\n4\n"
    source = csv(tmp_path / "in.csv", HEADER + bad + good)
    warehouse = Warehouse(str(tmp_path / "warehouse"))
    rules = [in_range("amount", 0, 1000), in_range("amount", 0, 40, severity="warning")]
    result = ingest(
        spark,
        source,
        BILLS,
        warehouse,
        ingest_id="run-1",
        expectations=rules,
        table_expectations=[volume(50)],
        max_failed_share=0.2,
    )
    assert (result.rows_read, result.rows_written, result.rows_quarantined) == (56, 50, 6)
    aside = read(spark, warehouse.table("quarantine_test_bills")).collect()
    found = {row["_raw"]: sorted((f["rule"], f["column"]) for f in row["_failures"]) for row in aside}
    assert found == {
        "1,Ann,abc": [("type", "amount")],
        "2,Bob,-3": [("check", "amount"), ("in_range", "amount"), ("in_range", "amount")],
        ",Cy,1": [("not_null", "bill_id")],
        "3,Di,1": [("unique", "bill_id")],
        "3,Ed,2": [("unique", "bill_id")],
        "4": [("fields", "")],
    }
    assert {row["_status"] for row in aside} == {"new"}
    assert all(row["_source_file"].endswith("in.csv") and row["_ingest_id"] == "run-1" for row in aside)
    failed = {(rule.rule, rule.column): rule for rule in result.rules if rule.failed}
    assert failed["type", "amount"].examples == ("abc",)
    assert failed["fields", ""].examples == ("***",)  # the text of the record may show a person


@pytest.mark.slow
def test_the_same_source_again_gives_the_same_tables(spark: SparkSession, tmp_path: Path) -> None:
    source = csv(tmp_path / "in.csv", HEADER + "1,Ann,2\n2,Bob,x\n")
    warehouse = Warehouse(str(tmp_path / "warehouse"))
    first = ingest(spark, source, BILLS, warehouse, ingest_id="one", max_failed_share=0.5)
    before = {name: rows.cache() for name, rows in contents(spark, warehouse).items()}
    assert [rows.count() for rows in before.values()] == [2, 1, 1]
    second = ingest(spark, source, BILLS, warehouse, ingest_id="two", max_failed_share=0.5)
    for name, rows in contents(spark, warehouse).items():
        assert_df_equality(rows, before[name], ignore_row_order=True)
        before[name].unpersist()
    assert (second.rows_read, second.rows_written) == (first.rows_read, first.rows_written)

    mended = csv(tmp_path / "in.csv", HEADER + "1,Ann,2\n2,Bob,3\n")
    assert ingest(spark, mended, BILLS, warehouse, ingest_id="three").rows_quarantined == 0
    assert [rows.count() for rows in contents(spark, warehouse).values()] == [2, 2, 0]


REFUSED = {
    "EMPTY_SOURCE in.csv has no rows": HEADER,
    "GATE_FAILED type(amount) must be double": HEADER + "1,Ann,x\n2,Bob,y\n3,Cy,1\n",
    "WRONG_ENCODING in.csv is not UTF-8": HEADER + "1,Zoë,1\n",
    "SCHEMA_MISMATCH lacks columns ['amount']": "bill_id,name\n1,Ann\n",
}


@pytest.mark.slow
def test_data_that_is_refused_leaves_the_tables_as_they_were(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    for expected, text in REFUSED.items():
        code, _, words = expected.partition(" ")
        file = tmp_path / "in.csv"
        file.write_text(text, encoding="latin-1")
        with pytest.raises(DataError) as caught:
            ingest(spark, Source(format="csv", path=str(file)), BILLS, warehouse, ingest_id="bad")
        assert caught.value.code == code
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    found = {name: [row.asDict() for row in rows.collect()] for name, rows in contents(spark, warehouse).items()}
    assert [row["bill_id"] for row in found["bronze_test_bills"]] == [7]
    assert found["silver_test_bills"] == [{"bill_id": 7, "name": "Gus", "amount": 7.0}]
    assert found["quarantine_test_bills"] == []


def test_bronze_goes_back_past_rows_that_a_killed_run_left_before_its_gate(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = csv(tmp_path / "bad.csv", HEADER + "1,Ann,x\n")
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "restore", lambda *_: None)
        with pytest.raises(DataError):
            ingest(spark, bad, BILLS, warehouse, ingest_id="killed")
    bronze = warehouse.table("bronze_test_bills")
    assert [row["bill_id"] for row in read(spark, bronze).collect()] == [1]
    with pytest.raises(DataError):
        ingest(spark, bad, BILLS, warehouse, ingest_id="again")
    assert [row["bill_id"] for row in read(spark, bronze).collect()] == [7]


def test_bronze_goes_back_to_its_version_whatever_the_clocks_of_the_log_say(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    bronze, silver = (warehouse.table(f"{layer}_test_bills") for layer in ("bronze", "silver"))
    for commit in Path(silver.location, "_delta_log").glob("*.json"):
        os.utime(commit, (1, 1))  # as a copy of the warehouse may have it: silver older than the bronze it came from
    with pytest.raises(DataError, match="GATE_FAILED"):
        ingest(spark, csv(tmp_path / "bad.csv", HEADER + "1,Ann,x\n"), BILLS, warehouse, ingest_id="two")
    assert [row["bill_id"] for row in read(spark, bronze).collect()] == [7]


def test_bronze_goes_back_after_an_error_of_any_kind(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "check", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(spark, csv(tmp_path / "next.csv", HEADER + "8,Hal,8\n"), BILLS, warehouse, ingest_id="two")
    assert [row["bill_id"] for row in read(spark, warehouse.table("bronze_test_bills")).collect()] == [7]


def test_a_quarantine_that_could_not_be_written_is_mended_by_the_same_source(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = csv(tmp_path / "in.csv", HEADER + "1,Ann,2\n2,Bob,x\n")
    real = pipeline.overwrite

    def full(rows: DataFrame, ref: TableRef, **options: Any) -> Write:
        if ref.name == "quarantine_test_bills":
            raise DataError("FULL", "No space.")
        return real(rows, ref, **options)

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "overwrite", full)
        with pytest.raises(DataError, match="FULL"):
            ingest(spark, source, BILLS, warehouse, ingest_id="one", max_failed_share=0.5)
    ingest(spark, source, BILLS, warehouse, ingest_id="again", max_failed_share=0.5)
    found = {name: [row[0] for row in rows.collect()] for name, rows in contents(spark, warehouse).items()}
    assert sorted(found["bronze_test_bills"]) == [1, 2]
    assert found["silver_test_bills"] == [1]
    assert [row["_raw"] for row in read(spark, warehouse.table("quarantine_test_bills")).collect()] == ["2,Bob,x"]


def test_what_a_source_of_tables_does_not_declare_is_left_out_whatever_its_name(
    spark: SparkSession, tmp_path: Path
) -> None:
    path, warehouse = str(tmp_path / "bills"), Warehouse(str(tmp_path / "warehouse"))
    # As in a bronze table of another warehouse.
    spark.sql("SELECT 1 bill_id, 'Ann' name, 'x' amount, 0 _broken, 'a' _known").write.parquet(path)
    source = Source(format="parquet", path=path, ignore=("_broken", "_known"))
    ingest(spark, source, BILLS, warehouse, ingest_id="one", max_failed_share=1)
    aside = read(spark, warehouse.table("quarantine_test_bills")).collect()
    assert [(failure["rule"], failure["value"]) for row in aside for failure in row["_failures"]] == [("type", "x")]


def test_a_table_of_another_shape_is_refused_before_anything_is_written(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    other = Table(BILLS.name, (Column("city", "string", "another table of the same name"),))
    before = {name: [tuple(row) for row in rows.collect()] for name, rows in contents(spark, warehouse).items()}

    with pytest.raises(DataError, match="TABLE_DIFFERS"):
        ingest(spark, csv(tmp_path / "other.csv", "city\nBern\n"), other, warehouse, ingest_id="two")

    assert {name: [tuple(row) for row in rows.collect()] for name, rows in contents(spark, warehouse).items()} == before


def test_rows_that_do_not_add_up_are_an_error() -> None:
    with pytest.raises(DataError, match="ROWS_LOST"):
        accounted(IngestResult("silver_x", 3, 1, 1, ()))


KILLED = """
import itertools, os, signal, sys
from shared.core.session import SessionConfig, get_session
from shared.delta.tables import Warehouse
from shared.ingest import pipeline
from shared.ingest.source import Source
sys.path.insert(0, sys.argv[1])
from test_pipeline import BILLS
# The process is killed when it is about to make the n-th write.
writes, real, at = itertools.count(1), pipeline.overwrite, int(sys.argv[4])
def overwrite(*args, **kwargs):
    if next(writes) == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)
pipeline.overwrite = overwrite
config = SessionConfig(master="local[1]", driver_memory="1g", shuffle_partitions=1, fast_start=True)
spark = get_session(config, "killed")
source, warehouse = Source(format="csv", path=sys.argv[2]), Warehouse(sys.argv[3])
pipeline.publish(pipeline.land(spark, source, BILLS, warehouse, ingest_id="killed", max_failed_share=0.5))
"""


@pytest.mark.slow
def test_a_killed_ingestion_is_mended_by_the_same_command(spark: SparkSession, tmp_path: Path) -> None:
    source = csv(tmp_path / "in.csv", HEADER + "1,Ann,2\n2,Bob,x\n3,Cy,1\n")
    whole, killed = Warehouse(str(tmp_path / "whole")), Warehouse(str(tmp_path / "killed"))
    ingest(spark, source, BILLS, whole, ingest_id="one", max_failed_share=0.5)
    ingest(spark, csv(tmp_path / "old.csv", HEADER + "9,Old,9\n"), BILLS, killed, ingest_id="old")
    arguments = [str(Path(__file__).parent), source.path, killed.root, "2"]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, cwd=os.getcwd())
    assert done.returncode == -signal.SIGKILL, done.stderr
    landed = read(spark, killed.table("bronze_test_bills")).count()
    old = read(spark, killed.table("silver_test_bills")).select("name").collect()
    assert (landed, [row["name"] for row in old]) == (3, ["Old"])
    ingest(spark, source, BILLS, killed, ingest_id="again", max_failed_share=0.5)
    for name, rows in contents(spark, killed).items():
        assert_df_equality(rows, contents(spark, whole)[name], ignore_row_order=True)
