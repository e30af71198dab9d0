"""JDBC against a real PostgreSQL."""

import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from chispa import assert_df_equality
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shared.core.columns import Column, Table
from shared.core.errors import AcceleratorError, ConfigError, EnvironmentProblem
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.ingest import readers
from shared.ingest.pipeline import land, publish
from shared.ingest.source import Database, Source
from tests.postgres import PASSWORD, USER, Server, free_port

BILLS = Table(
    "silver_test_bills",
    (
        Column("bill_id", "int", nullable=False),
        Column("amount", "double", check="amount IS NULL OR amount >= 0"),
        Column("region", "int"),
        Column("paid_ts", "timestamp"),
    ),
    key=("bill_id",),
)
ROWS = """
CREATE TABLE bills (bill_id int, amount numeric(10,2), region int, paid_ts timestamptz);
INSERT INTO bills SELECT i, i + 0.25, CASE WHEN i % 10 = 0 THEN NULL ELSE i % 7 END,
  timestamptz '2024-01-01 00:00Z' + i * interval '1 hour' FROM generate_series(1, 200) i;
CREATE TABLE mixed AS SELECT bill_id, amount, region AS "Region", paid_ts FROM bills;
CREATE TABLE no_regions AS SELECT bill_id, amount, NULL::int AS region, paid_ts FROM bills;
"""


@pytest.fixture(scope="module", autouse=True)
def _tables(postgres: Server) -> None:
    postgres.execute(ROWS)


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PG_PASSWORD", PASSWORD)


def source(url: str, **settings: Any) -> Source:
    known = {"url": url, "table": "bills", "user": USER, "password": "env:TEST_PG_PASSWORD"}
    return Source(format="jdbc", database=Database(**(known | settings)))


@pytest.mark.parametrize("column", ["region", "amount", "paid_ts"])
def test_a_partitioned_read_has_the_same_rows_in_several_partitions(
    spark: SparkSession, postgres: Server, column: str
) -> None:
    whole = readers.read(spark, source(postgres.url), BILLS).rows
    parts = readers.read(spark, source(postgres.url, partition_column=column, partitions=3), BILLS).rows
    sizes = {row["part"]: row["count"] for row in parts.groupBy(F.spark_partition_id().alias("part")).count().collect()}
    assert len(sizes) == 3
    assert max(sizes.values()) < 150
    assert parts.where("region IS NULL").count() == 20
    assert_df_equality(whole, parts, ignore_row_order=True)


def test_the_bounds_of_a_column_in_mixed_case_are_found(spark: SparkSession, postgres: Server) -> None:
    mixed = source(postgres.url, table="mixed", partition_column="Region", partitions=3)
    rows = readers.read(spark, mixed.model_copy(update={"columns": {"Region": "region"}}), BILLS).rows
    assert rows.count() == 200
    assert rows.rdd.getNumPartitions() == 3


def test_a_partition_column_of_nulls_only_is_read_in_one_piece(spark: SparkSession, postgres: Server) -> None:
    rows = readers.read(spark, source(postgres.url, table="no_regions", partition_column="region"), BILLS).rows
    assert rows.count() == 200


def test_a_table_is_ingested_and_the_password_is_nowhere(
    spark: SparkSession, postgres: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bills = source(postgres.url, partition_column="bill_id", properties={"sslmode": "prefer"})
    warehouse = Warehouse(str(tmp_path))
    result = publish(land(spark, bills, BILLS, warehouse, ingest_id="one"))
    assert (result.rows_read, result.rows_written, result.rows_quarantined) == (200, 200, 0)
    assert read(spark, warehouse.table("silver_test_bills")).agg(F.sum("amount")).collect()[0][0] == 20100 + 50
    rows = readers.read(spark, bills, BILLS).rows
    rows.explain("extended")
    shown = "".join(capfd.readouterr()) + repr(bills) + str(bills.model_dump()) + str(rows.take(1))
    files = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert "bills" in shown
    assert PASSWORD not in shown
    assert PASSWORD.encode() not in files


@pytest.mark.parametrize(
    ("settings", "family", "words"),
    [
        ({"password": "env:TEST_PG_WRONG"}, ConfigError, "LOGIN_REFUSED.*bills"),
        ({"password": "env:TEST_PG_ABSENT"}, EnvironmentProblem, "SECRET_NOT_FOUND"),
        ({"table": "nothing"}, ConfigError, "SOURCE_MISSING.*nothing"),
        ({"partition_column": "region_id"}, ConfigError, "PARTITION_COLUMN_INVALID.*region"),
    ],
)
def test_a_wrong_setting_is_one_sentence_without_the_password(
    spark: SparkSession,
    postgres: Server,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    family: type[AcceleratorError],
    words: str,
) -> None:
    monkeypatch.setenv("TEST_PG_WRONG", PASSWORD + "x")
    with pytest.raises(family, match=words) as caught:
        readers.read(spark, source(postgres.url, **settings), BILLS)
    assert "\n" not in str(caught.value)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_a_database_that_is_down_is_a_problem_of_the_environment(spark: SparkSession, postgres: Server) -> None:
    down = f"jdbc:postgresql://127.0.0.1:{free_port()}/postgres"
    with pytest.raises(EnvironmentProblem, match=r"DATABASE_DOWN") as caught:
        readers.read(spark, source(down), BILLS)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"password": PASSWORD}, "SECRET_NOT_A_REFERENCE"),
        ({"password": [PASSWORD]}, "SECRET_NOT_A_REFERENCE"),
        ({"url": [PASSWORD]}, "URL_INVALID"),
        ({"url": f"jdbc:postgresql://tester:{PASSWORD}@localhost/db"}, "URL_INVALID"),
        ({"url": f"jdbc:postgresql://localhost/db?password={PASSWORD}"}, "URL_INVALID"),
        ({"properties": {"sslpassword": PASSWORD}}, "SECRET_NOT_A_REFERENCE"),
        ({"table": "(SELECT 1) x"}, "CONFIG_INVALID"),
        ({"table": "bills; DROP TABLE bills"}, "CONFIG_INVALID"),
    ],
)
def test_secrets_and_sql_in_the_config_are_refused_and_not_repeated(settings: dict[str, Any], code: str) -> None:
    known = {"url": "jdbc:postgresql://h/db", "table": "bills", "user": "tester", "password": "env:X"}
    with pytest.raises(ConfigError) as caught:
        Source.load(yaml.safe_dump({"format": "jdbc", "database": known | settings}))
    assert caught.value.code == code
    assert PASSWORD not in str(caught.value)
