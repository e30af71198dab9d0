"""A number must be traceable to the very rows it came from."""

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from shared.core.errors import DataError
from shared.delta import lineage
from shared.delta.digest import digest
from shared.delta.read import read
from shared.delta.tables import TableRef, Warehouse
from shared.delta.write import overwrite


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(str(tmp_path))


@pytest.fixture
def table(spark: SparkSession, warehouse: Warehouse) -> TableRef:
    """Versions 0 and 1 with 3 and 5 rows."""
    ref = warehouse.table("silver_x_rows")
    for rows in (3, 5):
        overwrite(spark.range(rows).toDF("id"), ref)
    return ref


def test_a_run_records_the_version_the_digest_and_the_rows_of_what_it_read(
    spark: SparkSession, warehouse: Warehouse, table: TableRef
) -> None:
    lineage.record(spark, warehouse, "run-1", "train", [(table, 0), (table, 1)])

    rows = lineage.reads_of(spark, warehouse, "run-1").orderBy("version").collect()
    assert [(row["step"], row["table"], row["version"], row["rows"]) for row in rows] == [
        ("train", "silver_x_rows", 0, 3),
        ("train", "silver_x_rows", 1, 5),
    ]
    assert [row["digest"] for row in rows] == [digest(read(spark, table, version)) for version in (0, 1)]
    assert rows[0]["path"] == table.path


def test_the_same_reads_of_a_step_are_recorded_once_and_those_of_another_run_again(
    spark: SparkSession, warehouse: Warehouse, table: TableRef
) -> None:
    for run_id in ("run-1", "run-1", "run-2"):
        lineage.record(spark, warehouse, run_id, "train", [(table, 1)])

    assert lineage.reads_of(spark, warehouse, "run-1").count() == 1
    assert lineage.reads_of(spark, warehouse, "run-2").count() == 1


def test_a_table_made_anew_in_the_same_place_has_its_own_digest(
    spark: SparkSession, warehouse: Warehouse, table: TableRef
) -> None:
    lineage.record(spark, warehouse, "run-1", "train", [(table, 0)])
    shutil.rmtree(str(table.path))
    spark.range(100, 103).toDF("id").write.format("delta").save(str(table.path))

    lineage.record(spark, warehouse, "run-2", "train", [(table, 0)])

    found = {row["run_id"]: row["digest"] for row in read(spark, warehouse.table(lineage.LINEAGE)).collect()}
    assert found["run-2"] == digest(read(spark, table)) != found["run-1"]


def test_a_run_that_recorded_nothing_has_no_rows_and_an_unknown_version_or_table_is_refused(
    spark: SparkSession, warehouse: Warehouse, table: TableRef
) -> None:
    with pytest.raises(DataError, match="TABLE_MISSING"):
        lineage.reads_of(spark, warehouse, "run-1")
    with pytest.raises(DataError, match="TABLE_MISSING"):
        lineage.record(spark, warehouse, "run-1", "train", [(table, 9)])
    with pytest.raises(DataError, match=r"TABLE_MISSING.*silver_x_absent"):
        lineage.record(spark, warehouse, "run-1", "train", [(warehouse.table("silver_x_absent"), 0)])


def test_a_version_that_is_gone_or_is_another_is_told_from_the_one_that_was_read(
    spark: SparkSession, warehouse: Warehouse, table: TableRef
) -> None:
    digests = lineage.record(spark, warehouse, "run-1", "train", [(table, 1)])

    lineage.check_digest(spark, table, 1, digests["silver_x_rows"])
    with pytest.raises(DataError, match=r"TABLE_CHANGED.*check --warehouse"):
        lineage.check_digest(spark, table, 0, digests["silver_x_rows"])
    with pytest.raises(DataError, match=r"VERSION_GONE\] Version 7 of silver_x_rows"):
        lineage.check_digest(spark, table, 7, "")
    for file in Path(table.path or "").glob("*.parquet"):
        file.unlink()  # as VACUUM does
    with pytest.raises(DataError, match=r"VERSION_GONE\] Version 0 of silver_x_rows"):
        lineage.check_digest(spark, table, 0, "")


@pytest.mark.slow
def test_versions_with_the_same_rows_are_unchanged_since_the_first_of_them(
    spark: SparkSession, warehouse: Warehouse, table: TableRef
) -> None:
    def since(version: int) -> int:
        return lineage.unchanged_since(spark, warehouse, "silver_x_rows", version, f"run-{version}", "monitor")

    assert [since(0), since(1)] == [0, 1]
    for rows in (5, 5, 3):
        overwrite(spark.range(rows).toDF("id"), table)

    assert since(3) == 1  # also over version 2, which nobody read
    assert since(4) == 4  # as version 0, but there were others in between
