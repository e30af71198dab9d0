import json
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from shared.core.columns import Column, Table
from shared.core.errors import ConfigError, DataError, EnvironmentProblem
from shared.delta.read import read
from shared.delta.tables import Warehouse, check_writable, create, exists
from shared.delta.write import overwrite

EVENTS = Table(
    "silver_x_events",
    (
        Column("id", "string", "the event", nullable=False),
        Column("amount", "double", "it's money", unit="USD"),
        Column("event_ts", "timestamp"),
    ),
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


def test_bounds_are_kept_of_the_columns_that_a_search_can_use(spark: SparkSession, tmp_path: Path) -> None:
    table = Warehouse(str(tmp_path)).table("events")
    parted = Warehouse(str(tmp_path)).table("parted")
    price, day, plan = Column("price", "decimal(10,2)"), Column("day", "date"), Column("plan", "string")
    create(spark, table, replace(EVENTS, columns=(*EVENTS.columns, price, day), cluster_by=("price",), key=("id",)))
    open_ = Column("open", "boolean")
    create(
        spark,
        parted,
        replace(EVENTS, columns=(day, open_, plan), partition_by=("day",), cluster_by=(), key=("day", "open", "plan")),
    )
    bare = Warehouse(str(tmp_path)).table("bare")
    create(spark, bare, replace(EVENTS, columns=(EVENTS.column("amount"), plan), cluster_by=()))

    today = "DATE '2026-01-31' day"
    more = "'a' id, 1.5D amount, TIMESTAMP '2026-01-31' event_ts, CAST(2.5 AS DECIMAL(10,2)) price"
    overwrite(spark.sql(f"SELECT {more}, {today}"), table)
    overwrite(spark.sql(f"SELECT {today}, true open, 'a' plan"), parted)
    overwrite(spark.sql("SELECT 1.5D amount, 'a' plan"), bare)

    assert bounded(tmp_path / "events") == {"id", "event_ts", "price", "day"}
    assert bounded(tmp_path / "parted") == {"plan"}
    assert bounded(tmp_path / "bare") == {"amount", "plan"}  # nothing says what is searched: Delta's own choice


def bounded(table: Path) -> set[str]:
    """Return the columns with a least value in the statistics of the files that the table's log names."""
    entries = [json.loads(line) for log in (table / "_delta_log").glob("*.json") for line in log.open()]
    return {name for entry in entries if "add" in entry for name in json.loads(entry["add"]["stats"])["minValues"]}


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


def checked_by(check: str | None) -> Table:
    return Table("silver_x_events", (Column("id", "string"), Column("amount", "double", check=check)))


def test_the_checks_of_a_table_follow_its_declaration(spark: SparkSession, tmp_path: Path) -> None:
    ref = Warehouse(str(tmp_path)).table("events")
    rows = spark.createDataFrame([("a", 5.0)], "id string, amount double")
    create(spark, ref, checked_by("amount < 3"))
    create(spark, ref, checked_by("amount < 9"))
    overwrite(rows, ref)

    with pytest.raises(DataError, match=r"CONSTRAINT_BROKEN.*holds rows"):
        create(spark, ref, checked_by("amount > 7"))
    create(spark, ref, checked_by(None))
    overwrite(rows.withColumn("amount", rows["amount"] * 10), ref)

    assert read(spark, ref).first()["amount"] == 50


def test_a_check_that_is_no_predicate_on_the_columns_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    ref = Warehouse(str(tmp_path)).table("events")

    with pytest.raises(ConfigError, match="CHECK_INVALID"):
        create(spark, ref, checked_by("amuont < 3"))

    assert not exists(spark, ref)


def test_a_table_of_another_declaration_is_left_alone(spark: SparkSession, tmp_path: Path) -> None:
    ref = Warehouse(str(tmp_path)).table("events")
    create(spark, ref, EVENTS)

    with pytest.raises(DataError, match="TABLE_DIFFERS"):
        create(spark, ref, replace(EVENTS, columns=EVENTS.columns[:1], cluster_by=()))


def test_a_table_that_cannot_be_read_is_not_taken_for_a_missing_one(spark: SparkSession, tmp_path: Path) -> None:
    ref = Warehouse(str(tmp_path)).table("events")
    overwrite(spark.range(3), ref)
    log = tmp_path / "events/_delta_log/00000000000000000000.json"
    lines = [line for line in log.read_text().splitlines() if "metaData" not in line]
    log.write_text("\n".join(lines) + "\n")
    (log.parent / f".{log.name}.crc").unlink(missing_ok=True)
    log.with_suffix(".crc").unlink(missing_ok=True)
    spark.sql("CLEAR CACHE")

    with pytest.raises(EnvironmentProblem, match="TABLE_UNREADABLE"):
        read(spark, ref)
