"""Doing a write twice is doing it once, and each rule of it fails a test when it is taken away."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from chispa import assert_df_equality
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.columns import Column, Table
from shared.core.errors import DataError, EnvironmentProblem
from shared.delta import problems
from shared.delta.digest import digest
from shared.delta.read import latest_version, read
from shared.delta.tables import TableRef, Warehouse, create
from shared.delta.write import Write, append_once, merge_latest, overwrite, restore

ACCOUNTS = Table(
    "silver_x_accounts",
    (Column("id", "int", nullable=False), Column("amount", "double", check="amount >= 0"), Column("day", "string")),
    key=("id",),
)

WRITES = {
    "append": partial(append_once, app_id="w", version=0),
    "overwrite": overwrite,
    "merge": partial(merge_latest, keys=["id"], order_by="day"),
}


@pytest.fixture
def table(tmp_path: Path) -> TableRef:
    return Warehouse(str(tmp_path / "warehouse")).table("silver_x_accounts")


def accounts(spark: SparkSession, *rows: tuple[int | None, float, str | None]) -> DataFrame:
    return spark.createDataFrame(rows, "id int, amount double, day string")


def test_a_replay_with_the_same_rows_in_another_order_changes_nothing(spark: SparkSession, table: TableRef) -> None:
    first = append_once(accounts(spark, (1, 1.0, "a"), (2, 2.0, "a")), table, app_id="w", version=0)
    second = append_once(accounts(spark, (2, 2.0, "a"), (1, 1.0, "a")), table, app_id="w", version=0)

    assert (first.rows, first.is_replay, second.is_replay) == (2, False, True)
    assert read(spark, table).count() == 2


def test_a_replay_with_other_data_is_refused(spark: SparkSession, table: TableRef) -> None:
    append_once(accounts(spark, (1, 1.0, "a")), table, app_id="w", version=0)

    with pytest.raises(DataError, match="REPLAY_DIFFERS"):
        append_once(accounts(spark, (1, 9.0, "a")), table, app_id="w", version=0)

    assert read(spark, table).count() == 1


def test_another_batch_and_another_writer_are_appended(spark: SparkSession, table: TableRef) -> None:
    for app_id, version in (("w", 0), ("w", 1), ("other", 0)):
        append_once(accounts(spark, (1, 1.0, "a")), table, app_id=app_id, version=version)

    assert read(spark, table).count() == 3


def test_the_digest_tells_apart_rows_and_counts_them(spark: SparkSession) -> None:
    once = accounts(spark, (1, 1.0, "a"))
    twice = accounts(spark, (1, 1.0, "a"), (1, 1.0, "a"))
    swapped = spark.createDataFrame([(None, "a"), ("a", None)], "x string, y string")

    assert digest(once) != digest(twice)
    assert digest(swapped) == digest(spark.createDataFrame([("a", None), (None, "a")], "x string, y string"))
    assert digest(accounts(spark, (1, 1.0, "a"))) == digest(once)
    assert digest(accounts(spark, (1, 1.5, "a"))) != digest(once)


def test_the_digest_tells_apart_names_and_types(spark: SparkSession) -> None:
    # One and the same number in memory: 100 hundredths, and 100 days since 1970.
    kinds = ("bigint '100'", "decimal(10,2) '1.00'", "decimal(10,1) '10.0'", "date '1970-04-11'")
    rows = [spark.sql(f"SELECT CAST({kind.split()[1]} AS {kind.split()[0]}) AS x") for kind in kinds]
    rows.append(rows[0].withColumnRenamed("x", "y"))

    assert len({digest(row) for row in rows}) == 5


def test_the_digest_tells_apart_lists_of_texts_by_value_place_and_null(spark: SparkSession) -> None:
    lists = [None, [], [None], [""], ["a"], ["a", None], [None, "a"], ["a", "b"], ["ab"], ["b", "a"], ["a\x00b"]]

    assert len({digest(spark.createDataFrame([(each,)], "words array<string>")) for each in lists}) == len(lists)


def test_an_older_update_does_not_overwrite_a_newer_row(spark: SparkSession, table: TableRef) -> None:
    overwrite(accounts(spark, (1, 1.0, "2024-01-02")), table)

    merge_latest(accounts(spark, (1, 9.0, "2024-01-01"), (2, 2.0, "2024-01-01")), table, keys=["id"], order_by="day")

    expected = accounts(spark, (1, 1.0, "2024-01-02"), (2, 2.0, "2024-01-01"))
    assert_df_equality(read(spark, table), expected, ignore_row_order=True, ignore_nullable=True)


def test_of_several_updates_of_a_key_the_newest_counts(spark: SparkSession, table: TableRef) -> None:
    overwrite(accounts(spark, (1, 1.0, "2024-01-01")), table)
    updates = accounts(spark, (1, 3.0, "2024-01-03"), (1, 2.0, "2024-01-02"))

    merge_latest(updates, table, keys=["id"], order_by="day")
    merge_latest(updates, table, keys=["id"], order_by="day")

    expected = accounts(spark, (1, 3.0, "2024-01-03"))
    assert_df_equality(read(spark, table), expected, ignore_nullable=True)


def test_merging_leaves_no_view_behind(spark: SparkSession, table: TableRef) -> None:
    before = {found.name for found in spark.catalog.listTables()}

    merge_latest(accounts(spark, (1, 1.0, "a")), table, keys=["id"], order_by="day")

    assert {found.name for found in spark.catalog.listTables()} == before


def test_overwriting_a_partition_leaves_the_others(spark: SparkSession, table: TableRef) -> None:
    overwrite(accounts(spark, (1, 1.0, "a"), (2, 2.0, "b")), table)

    overwrite(accounts(spark, (3, 3.0, "b")), table, partition={"day": "b"})

    expected = accounts(spark, (1, 1.0, "a"), (3, 3.0, "b"))
    assert_df_equality(read(spark, table), expected, ignore_row_order=True, ignore_nullable=True)
    assert latest_version(spark, table) == 1


@pytest.mark.parametrize("broken", [(None, 1.0, "a"), (1, -1.0, "a")])
def test_constraints_of_the_declaration_are_the_last_fence(
    spark: SparkSession, table: TableRef, broken: tuple[int | None, float, str]
) -> None:
    create(spark, table, ACCOUNTS)

    with pytest.raises(DataError, match="CONSTRAINT_BROKEN"):
        overwrite(accounts(spark, broken), table)

    assert read(spark, table).count() == 0


def test_overwriting_no_rows_with_none_names_the_version_there_is(spark: SparkSession, table: TableRef) -> None:
    none = spark.createDataFrame([], "id int, amount double, day string")
    overwrite(none, table, schema_may_change=True)

    again = overwrite(none, table, schema_may_change=True)

    assert again == Write(latest_version(spark, table), 0)


def test_overwriting_keeps_the_constraints(spark: SparkSession, table: TableRef) -> None:
    create(spark, table, ACCOUNTS)
    overwrite(accounts(spark, (1, 1.0, "a")), table)

    with pytest.raises(DataError, match="CONSTRAINT_BROKEN"):
        overwrite(accounts(spark, (1, -1.0, "a")), table)

    assert read(spark, table).count() == 1


def test_restoring_brings_a_version_back(spark: SparkSession, table: TableRef) -> None:
    overwrite(accounts(spark, (1, 1.0, "a")), table)
    overwrite(accounts(spark, (2, 2.0, "b")), table)

    restore(spark, table, 0)

    assert [row["id"] for row in read(spark, table).collect()] == [1]


def test_an_old_version_is_read_by_number_and_a_missing_one_is_named(spark: SparkSession, table: TableRef) -> None:
    overwrite(accounts(spark, (1, 1.0, "a")), table)
    overwrite(accounts(spark, (2, 2.0, "b")), table)

    assert [row["id"] for row in read(spark, table, version=0).collect()] == [1]
    with pytest.raises(DataError, match="TABLE_MISSING"):
        read(spark, table, version=7).count()


def test_catalog_names_work_as_paths_do(spark: SparkSession, tmp_path: Path) -> None:
    spark.sql(f"CREATE DATABASE IF NOT EXISTS by_name LOCATION '{tmp_path / 'by_name'}'")
    table = Warehouse("catalog:spark_catalog.by_name").table("accounts")
    try:
        create(spark, table, ACCOUNTS)
        append_once(accounts(spark, (1, 1.0, "a")), table, app_id="w", version=0)
        append_once(accounts(spark, (1, 1.0, "a")), table, app_id="w", version=0)
        merge_latest(accounts(spark, (1, 2.0, "b")), table, keys=["id"], order_by="day")

        assert [tuple(row) for row in read(spark, table).collect()] == [(1, 2.0, "b")]
    finally:
        spark.sql("DROP DATABASE by_name CASCADE")


@pytest.mark.parametrize("write", WRITES)
def test_rows_with_a_column_missing_or_unknown_are_refused(spark: SparkSession, table: TableRef, write: str) -> None:
    overwrite(accounts(spark, (1, 1.0, "a")), table)
    for rows in (
        accounts(spark, (2, 2.0, "b")).drop("amount"),
        accounts(spark, (2, 2.0, "b")).withColumn("x", F.lit(1)),
    ):
        with pytest.raises(DataError, match="SCHEMA_MISMATCH"):
            WRITES[write](rows, table)

    assert [tuple(row) for row in read(spark, table).collect()] == [(1, 1.0, "a")]


def test_a_table_gains_only_the_columns_that_are_allowed_by_name(spark: SparkSession, table: TableRef) -> None:
    overwrite(accounts(spark, (1, 1.0, "a")), table)
    wider = accounts(spark, (2, 2.0, "b")).withColumn("x", F.lit(1))

    with pytest.raises(DataError, match=r"SCHEMA_MISMATCH.*'y'"):
        append_once(wider.withColumn("y", F.lit(1)), table, app_id="w", version=0, new_columns=["x"])
    append_once(wider, table, app_id="w", version=0, new_columns=["x"])
    merge_latest(wider.withColumn("z", F.lit(2)), table, keys=["id"], order_by="day", new_columns=["z"])

    assert read(spark, table).columns == ["id", "amount", "day", "x", "z"]
    assert sorted((row["id"], row["x"]) for row in read(spark, table).collect()) == [(1, None), (2, 1)]


def test_a_batch_before_one_that_was_written_is_refused(spark: SparkSession, table: TableRef) -> None:
    append_once(accounts(spark, (1, 1.0, "a")), table, app_id="w", version=1)

    with pytest.raises(DataError, match="BATCH_OUT_OF_ORDER"):
        append_once(accounts(spark, (2, 2.0, "a")), table, app_id="w", version=0)

    assert read(spark, table).count() == 1


def test_a_batch_far_back_in_the_log_is_still_known(spark: SparkSession, table: TableRef) -> None:
    append_once(accounts(spark, (1, 1.0, "a")), table, app_id="first", version=0)

    def again_after(note: str, commits: int) -> Write:
        spark.conf.set("spark.databricks.delta.commitInfo.userMetadata", note)
        try:
            for number in range(commits):  # commits that write no rows are quick
                spark.sql(f"ALTER TABLE {table.sql} SET TBLPROPERTIES ('noted' = '{note} {number}')").collect()
        finally:
            spark.conf.unset("spark.databricks.delta.commitInfo.userMetadata")
        return append_once(accounts(spark, (1, 1.0, "a")), table, app_id="first", version=0)

    assert again_after("words of another writer", 1) == Write(0, 0, is_replay=True)
    assert again_after("[]", 1) == Write(0, 0, is_replay=True)
    assert again_after("{}", 7) == Write(0, 0, is_replay=True)


def test_rows_outside_the_partition_they_replace_are_refused(spark: SparkSession, table: TableRef) -> None:
    overwrite(accounts(spark, (1, 1.0, "a"), (2, 2.0, "b")), table, partition=None)

    with pytest.raises(DataError, match="PARTITION_MISMATCH"):
        overwrite(accounts(spark, (3, 3.0, "a")), table, partition={"day": "b"})

    assert read(spark, table).count() == 2


def test_an_update_without_a_time_is_older_than_any_other(spark: SparkSession, table: TableRef) -> None:
    overwrite(accounts(spark, (1, 1.0, None), (2, 2.0, "a")), table)

    merge_latest(accounts(spark, (1, 9.0, "a"), (1, 7.0, None), (2, 9.0, None)), table, keys=["id"], order_by="day")

    assert sorted(tuple(row) for row in read(spark, table).collect()) == [(1, 9.0, "a"), (2, 2.0, "a")]


def test_a_write_is_tried_again_after_another_writers_commit(spark: SparkSession, table: TableRef) -> None:
    """The rows of the first write wait for a second one that begins after it and is done before it."""
    overwrite(accounts(spark, (0, 0.0, "before")), table)
    started, go = str(Path(str(table.path)).parent / "started"), str(Path(str(table.path)).parent / "go")

    def wait(value: int) -> int:
        Path(started).touch()
        while not Path(go).exists():
            time.sleep(0.05)
        return value

    waiting = F.udf(wait, "int", useArrow=False)
    rows = accounts(spark, (1, 1.0, "slow")).withColumn("id", waiting("id"))
    written: list[Write] = []
    slow = threading.Thread(target=lambda: written.append(overwrite(rows, table)))
    slow.start()
    try:
        while slow.is_alive() and not Path(started).exists():
            time.sleep(0.05)
        quick = overwrite(accounts(spark, (2, 2.0, "quick")), table)
    finally:
        Path(go).touch()
        slow.join()

    assert (quick.version, written) == (1, [Write(2, 1)])
    assert [row["day"] for row in read(spark, table).collect()] == ["slow"]


def test_a_write_that_is_always_in_the_way_of_others_gives_up(table: TableRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "_FIRST_WAIT_SECONDS", 0)
    tries = []

    def conflict() -> None:
        tries.append(1)
        if len(tries) > 50:
            raise RuntimeError("it would never give up")
        raise PySparkException("[DELTA_CONCURRENT_APPEND.WITHOUT_HINT] Transaction conflict detected.")

    with pytest.raises(EnvironmentProblem, match="WRITE_CONFLICT"):
        problems.retried(table, conflict)

    assert 2 <= len(tries) <= 10


@pytest.mark.parametrize("kind", ["path", "name"])
def test_overwriting_keeps_the_layout_and_the_properties(spark: SparkSession, tmp_path: Path, kind: str) -> None:
    spark.sql(f"CREATE DATABASE IF NOT EXISTS by_layout LOCATION '{tmp_path / 'by_layout'}'")
    ref = Warehouse(str(tmp_path / "w") if kind == "path" else "catalog:spark_catalog.by_layout").table("accounts")
    try:
        create(spark, ref, replace(ACCOUNTS, cluster_by=("id",), change_feed=True))
        overwrite(accounts(spark, (1, 1.0, "a")), ref)

        detail = spark.sql(f"DESCRIBE DETAIL {ref.sql}").first()
        assert detail["clusteringColumns"] == ["id"]
        assert detail["properties"]["delta.enableChangeDataFeed"] == "true"
        with pytest.raises(DataError, match="CONSTRAINT_BROKEN"):
            overwrite(accounts(spark, (1, -1.0, "a")), ref)
    finally:
        spark.sql("DROP DATABASE by_layout CASCADE")


@pytest.mark.parametrize("write", WRITES)
def test_a_table_made_by_a_write_is_open_to_other_readers_and_keeps_its_log(
    spark: SparkSession, table: TableRef, write: str
) -> None:
    WRITES[write](accounts(spark, (1, 1.0, "a")), table)

    properties = spark.sql(f"DESCRIBE DETAIL {table.sql}").first()["properties"]
    assert properties["delta.enableDeletionVectors"] == "false"
    assert properties["delta.logRetentionDuration"] == "interval 365 days"


_CHILD = """
import sys, time
from pathlib import Path
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType
from shared.core.session import SessionConfig, get_session
from shared.delta.tables import Warehouse
from shared.delta.write import append_once

spark = get_session(SessionConfig(master="local[2]", fast_start=True, driver_memory="1g"))
table = Warehouse(sys.argv[1]).table("accounts")
if sys.argv[2] == "hang":
    # The first partition's file is written; the second never ends, so the commit never comes.
    hang = F.udf(lambda value: (time.sleep(600) if value == 1 else None) or value, IntegerType())
    rows = spark.range(0, 2, 1, 2).select(hang(F.col("id").cast("int")).alias("id"))
else:
    rows = spark.range(0, 2, 1, 2).select(F.col("id").cast("int").alias("id"))
append_once(rows, table, app_id="w", version=0, digest="2:fixed")
"""


@pytest.mark.slow
def test_a_kill_between_write_and_commit_loses_and_doubles_nothing(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "warehouse"
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(folder), "hang"], start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("accounts/*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert list(folder.glob("accounts/*.parquet"))
    assert not list(folder.glob("accounts/_delta_log/*.json"))

    subprocess.run([sys.executable, "-c", _CHILD, str(folder), "go"], check=True, stderr=subprocess.DEVNULL)

    table = Warehouse(str(folder)).table("accounts")
    assert sorted(row["id"] for row in read(spark, table).collect()) == [0, 1]
    note = spark.sql(f"DESCRIBE HISTORY {table.sql}").first()["userMetadata"]
    assert json.loads(note)["app_id"] == "w"


def test_merges_at_the_same_time_are_retried_until_both_are_in(spark: SparkSession, table: TableRef) -> None:
    overwrite(accounts(spark, (0, 0.0, "a")), table)
    found: list[BaseException] = []

    def merge(place: int) -> None:
        try:
            merge_latest(accounts(spark, (0, float(place), f"b{place}")), table, keys=["id"], order_by="day")
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            found.append(error)

    threads = [threading.Thread(target=merge, args=(place,)) for place in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == []
    assert read(spark, table).first()["amount"] == 2.0


@pytest.mark.parametrize("searched_by", [[], ["b"]])
def test_a_table_has_counts_and_bounds_of_the_columns_it_is_searched_by(
    spark: SparkSession, tmp_path: Path, searched_by: list[str]
) -> None:
    table = Warehouse(str(tmp_path)).table("rows")
    rows = spark.createDataFrame([(1, 2), (3, 4)], "a int, b int").coalesce(1)

    for _ in "ab":
        assert overwrite(rows, table, schema_may_change=True, searched_by=searched_by).rows == 2

    log = "".join(file.read_text() for file in (tmp_path / "rows/_delta_log").glob("*.json"))
    assert "numRecords" in log
    assert ("minValues" in log) == bool(searched_by)
    if searched_by:
        assert 'minValues\\":{\\"b\\":2}' in log


def test_rows_are_counted_where_delta_collects_no_statistics(spark: SparkSession, tmp_path: Path) -> None:
    table = Warehouse(str(tmp_path)).table("bare")
    overwrite(spark.range(5), table)
    spark.conf.set("spark.databricks.delta.stats.collect", "false")
    try:
        assert overwrite(spark.range(7), table).rows == 7
        assert overwrite(spark.range(3), table, schema_may_change=True).rows == 3
        assert overwrite(spark.range(0), table).rows == 0
    finally:
        spark.conf.unset("spark.databricks.delta.stats.collect")


def test_a_folder_that_cannot_be_written_is_a_problem_of_the_environment(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the table should be")
    with pytest.raises(EnvironmentProblem, match="WAREHOUSE_NOT_WRITABLE"):
        overwrite(spark.range(3), Warehouse(str(tmp_path)).table("taken"))


def test_a_full_disk_is_told_and_leaves_the_table(spark: SparkSession, tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", tmp_path], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be made here: {mounted.stderr.strip()}")
    try:
        table = Warehouse(str(tmp_path)).table("small")
        overwrite(spark.range(3), table)
        with pytest.raises(EnvironmentProblem, match="DISK_FULL"):
            overwrite(spark.range(300_000).select(F.xxhash64("id").alias("id")), table)
        assert read(spark, table).count() == 3
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)
