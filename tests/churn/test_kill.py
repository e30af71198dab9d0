"""A run that is killed at any point is mended by the same command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from churn.schema import EVENT_LOG
from shared.core.columns import INGEST_ID, INGESTED_TS
from shared.delta.digest import digest
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.ingest.pipeline import names
from tests.churn.conftest import SMALL, Churn

# Killed when so many files of the tables are there: while the first is written, between tables, near the end.
FILES = (1, 3, 7, 12, 18)


def contents(spark: SparkSession, folder: Path) -> dict[str, str]:
    """Return the digest of every bronze, silver and quarantine table, without who wrote it and when."""
    warehouse = Warehouse(str(folder))
    tables = [warehouse.table(name) for table in EVENT_LOG for name in names(table)]
    return {table.label: digest(read(spark, table).drop(INGEST_ID, INGESTED_TS)) for table in tables}


def made(warehouse: Path) -> int:
    """Return how many files of tables and of their logs there are."""
    return sum(1 for path in warehouse.rglob("*") if path.suffix in (".parquet", ".json"))


@pytest.mark.slow
def test_an_ingestion_killed_at_five_points_ends_as_one_that_was_not(
    spark: SparkSession, churn: Churn, tmp_path: Path
) -> None:
    raw = tmp_path / "calm" / "raw_churn"
    assert churn("sample", "--warehouse", tmp_path / "calm", *SMALL).exit_code == 0
    assert churn("ingest", "--source", raw, "--warehouse", tmp_path / "calm").exit_code == 0
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "churn", "ingest", "--source", str(raw), "--warehouse", str(killed)]

    codes = []
    for files in FILES:
        before = made(killed)
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while process.poll() is None and made(killed) - before < files:
            time.sleep(0.05)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # Python and the JVM it started
        codes.append(process.wait())
    last = subprocess.run(command, capture_output=True, text=True, check=False)

    assert codes == [-signal.SIGKILL] * len(FILES)
    assert last.returncode == 0, last.stderr
    assert contents(spark, killed) == contents(spark, tmp_path / "calm")
