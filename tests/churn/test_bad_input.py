"""Broken input: one message with a code and a next step, the right exit code, and tables as they were."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from churn.config import ChurnConfig
from churn.schema import EVENT_LOG
from shared.delta.digest import digest
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse
from shared.registry import documents, models, tracking
from tests.churn.conftest import TELCO_HEADER, Churn

NAME = "Telco-Customer-Churn.csv"


def line(place: int) -> str:
    churn = "Yes" if place % 3 == 0 else "No"
    return (
        f"C{place:04d},Female,0,Yes,No,{place % 70},Yes,No,DSL,No,Yes,No,No,No,No,Month-to-month,Yes,Mailed check,"
        f"{20 + place % 50}.5,{100 + place}.5,{churn}"
    )


GOOD = [TELCO_HEADER, *(line(place) for place in range(300))]


def text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def changed(old: str, new: str, share: int = 1) -> str:
    """Replace in every ``share``-th row."""
    rows = [row.replace(old, new) if place % share == 0 else row for place, row in enumerate(GOOD[1:])]
    return text([TELCO_HEADER, *rows])


@pytest.fixture
def source(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        folder = tmp_path / "source"
        folder.mkdir(exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        (folder / NAME).write_bytes(data)
        return folder

    return write


@pytest.fixture(scope="module")
def ingested(churn: Churn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with good tables, which no broken input may change."""
    folder = tmp_path_factory.mktemp("good")
    (folder / NAME).write_text(text(GOOD))
    result = churn("ingest", "--source", folder, "--warehouse", folder / "warehouse")
    if result.exit_code:
        pytest.fail(result.output)
    return folder / "warehouse"


BROKEN = {
    "empty file": ("", 3, "EMPTY_FILE"),
    "header only": (TELCO_HEADER + "\n", 3, "EMPTY_SOURCE"),
    "missing column": (
        text([row.rsplit(",", 2)[0] + "," + row.rsplit(",", 1)[1] for row in GOOD]),
        3,
        "SCHEMA_MISMATCH",
    ),
    "renamed column": (text([TELCO_HEADER.replace("tenure", "tenur"), *GOOD[1:]]), 3, "SCHEMA_MISMATCH"),
    "extra column": (text([row + ",x" for row in GOOD]), 3, "SCHEMA_MISMATCH"),
    "wrong types in most rows": (changed(".5,", ".5 USD,"), 3, "GATE_FAILED"),
    "wrong delimiter": (text(GOOD).replace(",", ";"), 3, "WRONG_DELIMITER"),
    "wrong encoding": (text(GOOD).encode("utf-16"), 3, "WRONG_ENCODING"),
    "duplicate keys": (text([*GOOD, *GOOD[1:]]), 3, "GATE_FAILED"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence_and_nothing_changes(
    spark: SparkSession, churn: Churn, source: Callable[[str | bytes], Path], ingested: Path, kind: str
) -> None:
    content, code, name = BROKEN[kind]
    silver = Warehouse(str(ingested)).table("silver_churn_customers")
    bronze = Warehouse(str(ingested)).table("bronze_churn_customers")
    version = latest_version(spark, silver)

    result = churn("ingest", "--source", source(content), "--warehouse", ingested)

    assert result.exit_code == code, result.output
    assert f"[{name}]" in result.stderr
    assert "Traceback" not in result.output
    assert latest_version(spark, silver) == version
    assert read(spark, bronze).count() == 300


def test_a_missing_path_is_a_usage_error(churn: Churn, tmp_path: Path) -> None:
    result = churn("ingest", "--source", tmp_path / "nowhere", "--warehouse", tmp_path / "w")

    assert result.exit_code == 2
    assert "[SOURCE_MISSING]" in result.stderr


def test_wrong_types_in_some_rows_go_to_quarantine_with_raw_text_and_file(
    spark: SparkSession, churn: Churn, source: Callable[[str | bytes], Path], tmp_path: Path
) -> None:
    folder = source(changed(".5,", ".5 USD,", share=50))

    result = churn("ingest", "--source", folder, "--warehouse", tmp_path / "w")

    assert result.exit_code == 0, result.output
    quarantined = read(spark, Warehouse(str(tmp_path / "w")).table("quarantine_churn_customers")).collect()
    assert len(quarantined) == 6
    assert quarantined[0]["_failures"][0]["rule"] == "type"
    assert " USD" in quarantined[0]["_raw"]
    assert quarantined[0]["_source_file"].endswith(NAME)


def test_a_truncated_gzip_is_named(churn: Churn, tmp_path: Path) -> None:
    folder = tmp_path / "cdnow"
    folder.mkdir()
    rows = "\n".join(f" {place:05d} 19970101  1  {place % 90}.77" for place in range(20_000))
    packed = gzip.compress(f" customer_id  date number_of_cds  dollar_value\n{rows}\n".encode())
    (folder / "CDNOW_master.txt.gz").write_bytes(packed[: len(packed) // 2])

    result = churn("ingest", "--source", folder, "--warehouse", tmp_path / "w")

    assert result.exit_code == 3, result.output
    assert "[FILE_TRUNCATED]" in result.stderr
    assert "CDNOW_master.txt.gz" in result.stderr


@pytest.mark.slow
def test_a_corrupt_parquet_file_is_named_and_the_tables_before_it_stay(
    spark: SparkSession, churn: Churn, small_run: dict[str, Any], tmp_path: Path
) -> None:
    warehouse = Warehouse(str(shutil.copytree(small_run["warehouse"], tmp_path / "w")))
    silver = [warehouse.table(table.name) for table in EVENT_LOG]
    before = [(latest_version(spark, table), read(spark, table).count()) for table in silver]
    bronze = warehouse.table("bronze_churn_customers")
    landed = digest(read(spark, bronze))
    victim = next((tmp_path / "w" / "raw_churn" / "usage").glob("*.parquet"))
    content = victim.read_bytes()
    (victim.parent / f".{victim.name}.crc").unlink(missing_ok=True)
    victim.write_bytes(content[: len(content) // 2])

    result = churn("ingest", "--warehouse", warehouse.root, "--source", tmp_path / "w" / "raw_churn")

    assert result.exit_code == 3, result.output
    assert "[FILE_UNREADABLE]" in result.stderr
    assert victim.name in result.stderr
    assert "Traceback" not in result.output
    assert [(latest_version(spark, table), read(spark, table).count()) for table in silver] == before
    assert digest(read(spark, bronze)) == landed  # what had landed before the broken table went back


def test_future_timestamps_are_stopped_at_the_gate(churn: Churn, tmp_path: Path) -> None:
    folder = tmp_path / "cdnow"
    folder.mkdir()
    rows = "\n".join(f" {place:05d} 29970101  1  {place % 90}.77" for place in range(50))
    (folder / "CDNOW_master.txt").write_text(f" customer_id  date number_of_cds  dollar_value\n{rows}\n")

    result = churn("ingest", "--source", folder, "--warehouse", tmp_path / "w")

    assert result.exit_code == 3, result.output
    assert "not_future(event_ts)" in result.stderr
    assert "50 of 50 rows" in result.stderr


LABELS = {
    "one class": (
        text([TELCO_HEADER, *(row[:-3] + "No" if row.endswith("Yes") else row for row in GOOD[1:])]),
        "LABEL_ONE_CLASS",
    ),
    "nulls": (changed(",Yes\n", ",\n").replace(",Yes\n", ",\n"), "LABEL_NULL"),
    "three values": (text([*GOOD, line(999)[: line(999).rindex(",")] + ",Maybe"]), "LABEL_NOT_BINARY"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_label_that_cannot_be_learned_is_explained(
    churn: Churn, source: Callable[[str | bytes], Path], tmp_path: Path, kind: str
) -> None:
    content, code = LABELS[kind]
    folder = source(content)

    assert churn("ingest", "--source", folder, "--warehouse", tmp_path / "w").exit_code == 0
    result = churn("features", "--source", folder, "--warehouse", tmp_path / "w")

    assert result.exit_code == 3, result.output
    assert f"[{code}]" in result.stderr


@pytest.mark.slow
def test_a_feature_that_equals_the_label_is_refused(
    churn: Churn, source: Callable[[str | bytes], Path], tmp_path: Path
) -> None:
    rows = [row.replace("Mailed check", "Bank" if row.endswith("Yes") else "Card") for row in GOOD[1:]]
    folder = source(text([TELCO_HEADER, *rows]))
    common = ("--source", folder, "--warehouse", tmp_path / "w", "--set=model.candidates=[logistic]")

    assert churn("ingest", *common).exit_code == 0
    assert churn("features", *common).exit_code == 0
    result = churn("train", *common)

    assert result.exit_code == 3, result.output
    assert "[LEAK_LABEL_IN_DISGUISE]" in result.stderr
    assert "payment_method" in result.stderr


@pytest.mark.slow
def test_constant_and_empty_features_are_dropped_and_training_goes_on(
    churn: Churn, source: Callable[[str | bytes], Path], tmp_path: Path
) -> None:
    rows = [f"{row.rsplit(',', 2)[0]},,{row.rsplit(',', 1)[1]}" for row in GOOD[1:]]  # no total charges anywhere
    folder = source(text([TELCO_HEADER, *rows]))
    common = ("--source", folder, "--warehouse", tmp_path / "w", "--set=model.candidates=[logistic]")

    assert churn("ingest", *common).exit_code == 0
    assert churn("features", *common).exit_code == 0
    result = churn("train", *common)

    assert result.exit_code == 0, result.output
    database = f"sqlite:///{tmp_path / 'w'}/mlflow.db"
    client = tracking.connect(ChurnConfig(warehouse=str(tmp_path / "w")), "churn")
    dropped = documents.logged(models.find(client, "churn", models.CHALLENGER), "training")["dropped"]
    assert tracking.mlflow.get_tracking_uri() == database
    assert dropped["total_charges"] == "no value in any training row"
    assert dropped["gender"] == "the same value in every training row"


def test_a_warehouse_that_cannot_be_written_is_an_environment_problem(churn: Churn, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / NAME).write_text(text(GOOD))

    for verb in (("ingest", "--source", folder), ("run",), ("train",)):
        result = churn(*verb, "--warehouse", tmp_path / "file" / "warehouse")

        assert result.exit_code == 5, result.output
        assert "[WAREHOUSE_NOT_WRITABLE]" in result.stderr


def test_a_signup_in_the_future_is_stopped_at_the_gate(churn: Churn, tmp_path: Path) -> None:
    folder = tmp_path / "source" / "customers"
    folder.mkdir(parents=True)
    rows = "\n".join(f"C{place:03d},{2997 if place < 10 else 2024}-01-05,consumer,north,18-29" for place in range(50))
    (folder / "customers.csv").write_text(f"customer_id,signup_date,segment,region,age_band\n{rows}\n")

    result = churn("ingest", "--source", tmp_path / "source", "--warehouse", tmp_path / "w")

    assert result.exit_code == 3, result.output
    assert "not_future(signup_date)" in result.stderr
    assert "10 of 50 rows" in result.stderr
