"""Churn on a table of a real PostgreSQL, by settings alone."""

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from shared.delta.read import read
from shared.delta.tables import Warehouse
from tests.churn.conftest import Churn
from tests.postgres import PASSWORD, USER, Server, free_port

SALES = """
CREATE TABLE sales (id serial, buyer text, bought_at timestamptz, pieces int, total numeric(10,2));
INSERT INTO sales (buyer, bought_at, pieces, total) SELECT 'C' || i % 40, timestamptz '2024-01-01 00:00Z' +
  i * interval '1 day', 1 + i % 3, i + 0.5 FROM generate_series(1, 300) i;
UPDATE sales SET total = -1 WHERE id = 7;
"""
SETTINGS = """
shape: purchases
source: shop  # only a name: nothing is there
sources:
  purchases:
    format: jdbc
    columns: {{buyer: customer_id, bought_at: event_ts, pieces: quantity, total: amount}}
    ignore: [id]
    database: {{url: "{url}", table: sales, user: {user}, password: "env:TEST_PG_PASSWORD", partition_column: id}}
"""


@pytest.fixture(scope="module", autouse=True)
def _sales(postgres: Server) -> None:
    postgres.execute(SALES)


@pytest.fixture
def settings(tmp_path: Path, postgres: Server) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(SETTINGS.format(url=postgres.url, user=USER))
    return path


def test_a_table_of_a_database_is_ingested(
    spark: SparkSession, churn: Churn, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_PG_PASSWORD", PASSWORD)
    result = churn("ingest", "--json", "--config", settings, "--warehouse", settings.parent / "w")

    assert result.exit_code == 0, result.stderr
    step = json.loads(result.stdout)["steps"][0]
    assert (step["rows_read"], step["rows_written"], step["rows_quarantined"]) == (300, 299, 1)
    rows = read(spark, Warehouse(str(settings.parent / "w")).table("silver_churn_purchases"))
    assert rows.where("quantity BETWEEN 1 AND 3").count() == 299
    assert PASSWORD not in result.output


def test_a_wrong_password_is_one_line_of_a_usage_error(
    churn: Churn, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_PG_PASSWORD", PASSWORD + "x")
    result = churn("ingest", "--config", settings, "--warehouse", settings.parent / "w")

    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("[LOGIN_REFUSED]")
    assert PASSWORD not in result.output


def test_a_database_that_is_down_is_one_line_about_the_environment(
    churn: Churn, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_PG_PASSWORD", PASSWORD)
    down = f"sources.purchases.database.url=jdbc:postgresql://127.0.0.1:{free_port()}/postgres"
    result = churn("ingest", "--config", settings, "--warehouse", settings.parent / "w", "--set", down)

    assert result.exit_code == 5
    assert result.stderr.splitlines()[-1].startswith("[DATABASE_DOWN]")
