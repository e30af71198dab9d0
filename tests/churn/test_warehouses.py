"""Demo, then the publishers' files, in one working folder; and what may not share a warehouse."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from churn.schema import SHAPES
from shared.delta.read import read
from shared.delta.tables import Warehouse, exists
from tests.churn.conftest import QUICK, SMALL, Churn, cdnow_like, telco_like


@pytest.mark.slow
def test_the_demo_and_then_real_data_run_in_one_folder_without_naming_a_warehouse(
    spark: SparkSession, churn: Churn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    telco, cdnow = telco_like(tmp_path / "telco", 300, signal=1.0), cdnow_like(tmp_path / "cdnow", 200)

    for verb in ("sample", "ingest", "features"):
        result = churn(verb, *SMALL)
        assert result.exit_code == 0, result.output
    for verb in ("ingest", "features"):
        for source in (telco, cdnow):
            result = churn(verb, "--source", source, *QUICK)
            assert result.exit_code == 0, result.output

    for folder, shape in (
        ("warehouse", "subscriptions"),
        ("warehouse/telco", "customers"),
        ("warehouse/cdnow", "purchases"),
    ):
        warehouse = Warehouse(folder)
        for table in SHAPES[shape]:
            assert set(read(spark, warehouse.table(table.name)).columns) == set(table.names)
        assert exists(spark, warehouse.table("gold_churn_features"))


@pytest.fixture(scope="module")
def sources(churn: Churn, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, ...]]:
    """The options that name a source of each shape."""
    folder = tmp_path_factory.mktemp("sources")
    return {
        "subscriptions": SMALL,
        "customers": ("--source", str(telco_like(folder / "telco", 50, signal=1.0))),
        "purchases": ("--source", str(cdnow_like(folder / "cdnow", 50))),
    }


@pytest.mark.parametrize("first", SHAPES)
def test_a_warehouse_of_another_shape_is_refused_before_anything_is_written(
    churn: Churn, small_run: dict[str, Any], sources: dict[str, tuple[str, ...]], tmp_path: Path, first: str
) -> None:
    warehouse = tmp_path / "warehouse"
    if first == "subscriptions":
        shutil.copytree(small_run["warehouse"], warehouse)
    else:
        assert churn("ingest", *sources[first], "--warehouse", warehouse).exit_code == 0
    before = sorted(warehouse.rglob("*"))

    for shape in set(SHAPES) - {first}:
        result = churn("ingest", *sources[shape], "--warehouse", warehouse)

        assert result.exit_code == 3, result.output
        assert "[WAREHOUSE_OF_ANOTHER_SHAPE]" in result.stderr
        assert f"of shape {first}" in result.stderr
        assert "--warehouse" in result.stderr
        assert sorted(warehouse.rglob("*")) == before
