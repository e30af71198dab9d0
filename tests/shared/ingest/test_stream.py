"""A folder as a stream: each file once, also after a failure between the write and the checkpoint's commit."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from shared.core.columns import Column, Table
from shared.core.errors import ConfigError, DataError
from shared.delta.read import read
from shared.delta.tables import TableRef, Warehouse
from shared.delta.write import Write
from shared.ingest import landing
from shared.ingest.pipeline import IngestResult
from shared.ingest.source import Source
from shared.ingest.stream import ingest_new_files

EVENTS = Table("silver_test_events", (Column("event_id", "int", nullable=False), Column("amount", "double")))
KEYED = Table("silver_test_events", EVENTS.columns, key=("event_id",))


class Folder:
    def __init__(self, spark: SparkSession, root: Path, table: Table) -> None:
        self.spark, self.root, self.table = spark, root, table
        self.warehouse = Warehouse(str(root / "warehouse"))
        (root / "in").mkdir()

    def put(self, name: str, *lines: str) -> None:
        (self.root / "in" / name).write_text("event_id,amount\n" + "".join(f"{line}\n" for line in lines))

    def ingest(self, max_failed_share: float = 1.0) -> IngestResult:
        source = Source(format="csv", path=str(self.root / "in"))
        checkpoint = str(self.root / "checkpoint")
        return ingest_new_files(
            self.spark, source, self.table, self.warehouse, checkpoint=checkpoint, max_failed_share=max_failed_share
        )

    def ids(self, layer: str = "silver") -> list[int]:
        rows = read(self.spark, self.warehouse.table(f"{layer}_test_events")).collect()
        return sorted(row["event_id"] for row in rows)

    def aside(self) -> list[tuple[str, list[str]]]:
        rows = read(self.spark, self.warehouse.table("quarantine_test_events")).collect()
        return sorted((row["_raw"], [failure["rule"] for failure in row["_failures"]]) for row in rows)


def counts(result: IngestResult) -> tuple[int, int, int]:
    return result.rows_read, result.rows_written, result.rows_quarantined


def test_each_file_is_taken_once_however_old_it_is_and_bad_rows_are_put_aside(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = Folder(spark, tmp_path, EVENTS)
    folder.put("a 1.csv", "1,1.5", "2,x")
    assert counts(folder.ingest()) == (2, 1, 1)
    folder.put("b.csv", "1,1.5", "3,3")
    month_ago = time.time() - 30 * 86_400
    os.utime(tmp_path / "in" / "b.csv", (month_ago, month_ago))
    assert counts(folder.ingest()) == (2, 2, 0)
    assert counts(folder.ingest()) == (0, 0, 0)
    assert folder.ids() == [1, 1, 3]
    assert folder.aside() == [("2,x", ["type"])]
    assert len(folder.ids("bronze")) == 4


@pytest.mark.slow
def test_a_batch_that_died_between_its_writes_or_before_the_commit_is_not_doubled(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(spark, tmp_path, KEYED)
    folder.put("a.csv", "1,1", "2,x")
    folder.ingest()
    folder.put("b.csv", "3,3", "4,y", "1,1")
    real = landing.append_once

    def dies(is_written: bool) -> None:
        def append(rows: DataFrame, ref: TableRef, **options: Any) -> Write:
            is_last = ref.name == KEYED.name
            if is_written or not is_last:
                done = real(rows, ref, **options)
            if is_last:
                raise DataError("DIED", "The process died.")  # the checkpoint is not committed
            return done

        monkeypatch.setattr(landing, "append_once", append)
        with pytest.raises(DataError, match="DIED"):
            folder.ingest()
        monkeypatch.setattr(landing, "append_once", real)

    dies(is_written=False)
    assert folder.ids() == [1]
    assert counts(folder.ingest()) == (3, 1, 2)
    assert folder.ids() == [1, 3]
    folder.put("c.csv", "5,5", "6,z", "1,1")
    dies(is_written=True)
    assert folder.ids() == [1, 3, 5]
    assert counts(folder.ingest()) == (3, 1, 2)
    assert folder.ids() == [1, 3, 5]
    aside = [("2,x", ["type"]), ("4,y", ["type"]), ("6,z", ["type"])]
    assert folder.aside() == [("1,1", ["new_key"]), ("1,1", ["new_key"]), *aside]


def test_a_refused_batch_changes_nothing_until_its_file_is_mended(spark: SparkSession, tmp_path: Path) -> None:
    folder = Folder(spark, tmp_path, EVENTS)
    folder.put("a.csv", "1,1")
    folder.ingest()
    folder.put("b.csv", "2,x", "3,y")
    with pytest.raises(DataError, match=r"^\[GATE_FAILED\]"):
        folder.ingest(max_failed_share=0.1)
    assert (folder.ids(), folder.ids("bronze")) == ([1], [1])
    folder.put("b.csv", "2,2", "3,3")
    assert counts(folder.ingest(max_failed_share=0.1)) == (2, 2, 0)


def test_a_file_with_names_only_changes_nothing_and_does_not_stop_the_next(spark: SparkSession, tmp_path: Path) -> None:
    folder = Folder(spark, tmp_path, EVENTS)
    folder.put("quiet day.csv")
    assert counts(folder.ingest()) == (0, 0, 0)
    folder.put("b.csv", "1,1")
    assert counts(folder.ingest()) == (1, 1, 0)
    assert folder.ids() == [1]


def test_a_database_is_not_a_folder_of_files(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SOURCE_INVALID"):
        ingest_new_files(
            spark, Source(format="delta", path="x"), EVENTS, Warehouse(str(tmp_path)), checkpoint=str(tmp_path / "c")
        )
