from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from shared.core.columns import Column, Table
from shared.core.errors import ConfigError, EnvironmentProblem
from shared.delta.tables import Warehouse, check_writable, create, exists

EVENTS = Table(
    "silver_x_events",
    (Column("id", "string", "the event", nullable=False), Column("amount", "double", "it's money", unit="USD")),
    cluster_by=("id",),
    change_feed=True,
    description="One row per event.",
)


def test_a_table_has_the_properties_comments_and_layout_of_its_declaration(spark: SparkSession, tmp_path: Path) -> None:
    table = Warehouse(str(tmp_path)).table("events")

    create(spark, table, EVENTS)
    create(spark, table, EVENTS)

    detail = spark.sql(f"DESCRIBE DETAIL {table.sql}").first()
    assert detail["properties"]["delta.enableChangeDataFeed"] == "true"
    assert detail["properties"]["delta.enableDeletionVectors"] == "false"
    assert detail["clusteringColumns"] == ["id"]
    assert detail["description"] == "One row per event."
    comments = {field.name: field.metadata.get("comment") for field in spark.table(table.sql).schema}
    assert comments["amount"] == "it's money [USD]"


def test_a_folder_that_is_no_table_does_not_exist(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()

    assert not exists(spark, Warehouse(str(tmp_path)).table("events"))


def test_a_path_with_blanks_and_quotes_works(spark: SparkSession, tmp_path: Path) -> None:
    table = Warehouse(str(tmp_path / "my 'own' data")).table("events")

    create(spark, table, EVENTS)

    assert exists(spark, table)


def test_a_path_that_would_break_out_of_sql_is_refused() -> None:
    with pytest.raises(ConfigError, match="WAREHOUSE_INVALID"):
        Warehouse("a`b").table("events")


@pytest.mark.parametrize("name", ["a b", "a;b", "../x"])
def test_a_table_name_is_an_identifier(name: str) -> None:
    with pytest.raises(ConfigError, match="NAME_INVALID"):
        Warehouse("w").table(name)


def test_a_warehouse_below_a_file_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(EnvironmentProblem, match="WAREHOUSE_NOT_WRITABLE"):
        check_writable(Warehouse(str(tmp_path / "file" / "warehouse")))


def test_uris_are_left_to_spark() -> None:
    check_writable(Warehouse("s3a://bucket/warehouse"))

    assert Warehouse("s3a://bucket/warehouse/").table("events").sql == "delta.`s3a://bucket/warehouse/events`"
