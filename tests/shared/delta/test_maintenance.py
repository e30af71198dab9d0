"""Compaction must change no row, and no vacuum may take what a model was trained on."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from shared.core.errors import DataError
from shared.delta import lineage
from shared.delta.maintenance import SAFE_HOURS, optimize, vacuum
from shared.delta.read import read
from shared.delta.tables import TableRef, Warehouse
from shared.delta.write import overwrite


@pytest.fixture
def table(spark: SparkSession, tmp_path: Path) -> TableRef:
    """Versions 0 and 1 with 10 and 20 rows in two files each."""
    ref = Warehouse(str(tmp_path)).table("rows")
    for rows in (10, 20):
        overwrite(spark.range(0, rows, 1, 2), ref)
    return ref


def test_compaction_makes_few_files_of_many_and_keeps_rows_and_versions(spark: SparkSession, table: TableRef) -> None:
    done = optimize(spark, table)

    assert (done.files_removed, done.files_added) == (2, 1)
    assert read(spark, table).count() == read(spark, table, 1).count() == 20
    assert optimize(spark, table).files_removed == 0


def test_a_vacuum_keeps_what_is_younger_than_its_hours(spark: SparkSession, table: TableRef) -> None:
    assert vacuum(spark, table, keep_versions=[0]).files == 0
    assert read(spark, table, 0).count() == 10


def test_fewer_hours_than_are_safe_need_a_word(spark: SparkSession, table: TableRef) -> None:
    with pytest.raises(DataError, match="RETENTION_TOO_SHORT"):
        vacuum(spark, table, keep_hours=SAFE_HOURS - 1)


def test_a_vacuum_that_would_take_a_file_of_a_needed_version_is_refused(spark: SparkSession, table: TableRef) -> None:
    with pytest.raises(DataError, match=r"VERSION_NEEDED.*2 files of versions .0."):
        vacuum(spark, table, keep_hours=0, below_safe_hours=True, keep_versions=[1, 0])

    assert read(spark, table, 0).count() == 10


def test_what_a_recorded_run_was_trained_on_survives_a_vacuum_unless_named_otherwise(
    spark: SparkSession, table: TableRef, tmp_path: Path
) -> None:
    lineage.record(spark, Warehouse(str(tmp_path)), "run-1", "train", [(table, 0)])

    with pytest.raises(DataError, match=r"VERSION_NEEDED.*2 files of versions .0."):
        vacuum(spark, table, keep_hours=0, below_safe_hours=True)
    assert read(spark, table, 0).count() == 10

    assert vacuum(spark, table, keep_hours=0, below_safe_hours=True, keep_versions=[1]).files == 2


def test_a_vacuum_removes_what_nothing_needs_and_a_dry_run_only_counts(spark: SparkSession, table: TableRef) -> None:
    folder = Path(str(table.path))

    asked = vacuum(spark, table, keep_hours=0, below_safe_hours=True, keep_versions=[1], dry_run=True)
    before = len(list(folder.glob("*.parquet")))
    done = vacuum(spark, table, keep_hours=0, below_safe_hours=True, keep_versions=[1])

    assert (asked.files, asked.is_dry_run, before) == (2, True, 4)
    assert (done.files, done.is_dry_run) == (2, False)
    assert len(list(folder.glob("*.parquet"))) == 2
    assert read(spark, table, 1).count() == 20


def test_the_guard_of_delta_is_as_it_was_afterwards(spark: SparkSession, table: TableRef) -> None:
    vacuum(spark, table, keep_hours=0, below_safe_hours=True)

    assert spark.conf.get("spark.databricks.delta.retentionDurationCheck.enabled", "unset") in ("true", "unset")


def test_a_version_that_is_gone_cannot_be_kept(spark: SparkSession, table: TableRef) -> None:
    with pytest.raises(DataError, match=r"TABLE_MISSING.*version 7"):
        vacuum(spark, table, keep_versions=[7])
