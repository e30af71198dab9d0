"""The settings below a user's own follow from the source."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn.config import ChurnConfig, layers
from shared.core.errors import ConfigError
from shared.delta.read import read
from shared.delta.tables import Warehouse
from tests.churn.conftest import Churn


@pytest.mark.parametrize("source", ["hdfs:///data/Telco-Customer-Churn.csv", "s3a://b/telco/Telco-Customer-Churn.csv"])
def test_the_publishers_file_is_known_at_a_uri_too(source: str) -> None:
    config = ChurnConfig.load(*layers(source))

    assert (config.shape, config.split.by) == ("customers", "customer")


def test_a_quick_jvm_is_for_the_embedded_data_only() -> None:
    small, whole = ChurnConfig.load(*layers(None)), ChurnConfig.load(*layers("hdfs:///x/CDNOW_master.txt.gz"))

    assert small.session.fast_start
    assert not whole.session.fast_start
    assert (whole.model.boosted_trees, whole.model.boosted_step) == (30, 0.3)


def test_a_table_without_dates_cannot_be_split_by_time() -> None:
    with pytest.raises(ConfigError, match=r"CONFIG_INVALID.*split.by=customer"):
        ChurnConfig.load(*layers(None), "shape: customers")


def test_the_source_may_be_named_in_the_settings(churn: Churn, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"source: {tmp_path / 'nowhere'}")

    result = churn("ingest", "--config", own, "--warehouse", tmp_path / "w")

    assert result.exit_code == 2
    assert "[SOURCE_MISSING]" in result.stderr


OWN = """
shape: purchases
source: {folder}
sources:
  purchases:
    format: csv
    path: {folder}/orders.csv
    delimiter: ";"
    encoding: ISO-8859-1
    date_format: yyyy-MM-dd
    timestamp_format: dd.MM.yyyy
    columns: {{kunde: customer_id, tag: event_ts, menge: quantity, betrag: amount}}
"""


def test_a_table_may_be_read_in_another_way_by_settings_alone(
    spark: SparkSession, churn: Churn, tmp_path: Path
) -> None:
    (tmp_path / "orders.csv").write_bytes(
        "kunde;tag;menge;betrag\nMüller;05.01.2024;2;9.5\nAlt;06.01.2024;1;3\n".encode("latin1")
    )
    own = tmp_path / "own.yaml"
    own.write_text(OWN.format(folder=tmp_path))

    result = churn("ingest", "--config", own, "--warehouse", tmp_path / "w")

    assert result.exit_code == 0, result.stderr
    rows = read(spark, Warehouse(str(tmp_path / "w")).table("silver_churn_purchases"))
    found = (
        rows.select("customer_id", F.to_date("event_ts").cast("string"), "quantity").orderBy("customer_id").collect()
    )
    assert [tuple(row) for row in found] == [("Alt", "2024-01-06", 1), ("Müller", "2024-01-05", 2)]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("sources.purchase.delimiter=;", "[TABLE_UNKNOWN]"),
        ("sources.purchases.delimeter=;", "Did you mean 'delimiter'"),
        (
            "sources.purchases.database={url: jdbc:postgresql://x/y, table: t, user: u, password: hunter2}",
            "[SECRET_NOT_A_REFERENCE]",
        ),
    ],
)
def test_settings_of_a_table_are_checked(churn: Churn, tmp_path: Path, setting: str, says: str) -> None:
    (tmp_path / "orders.csv").write_text("x\n1\n")
    own = tmp_path / "own.yaml"
    own.write_text(OWN.format(folder=tmp_path))

    result = churn("ingest", "--config", own, "--warehouse", tmp_path / "w", "--set", setting)

    assert result.exit_code == 2
    assert says in result.stderr
    assert "hunter2" not in result.output


def test_settings_of_tables_need_a_source() -> None:
    with pytest.raises(ConfigError, match="set source too"):
        ChurnConfig.load(*layers(None), "sources: {usage: {format: csv}}")
