"""What `run` does not do again, and every change that makes it do so."""

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from churn.config import ChurnConfig, layers
from churn.features import FEATURES, features, kept_features
from churn.ingest import ingest, kept_ingestion
from churn.pipeline import VERTICAL
from shared.core.run import KEPT_FROM
from shared.delta import made_from
from shared.delta.tables import Warehouse
from tests.churn.conftest import telco_like

SILVER, QUARANTINE = "silver_churn_customers", "quarantine_churn_customers"
FILE = "Telco-Customer-Churn.csv"


def config_of(folder: Path, *overrides: str) -> ChurnConfig:
    source = str(folder / "source")
    given = f"{{warehouse: {folder / 'warehouse'}, source: {source}}}"
    return ChurnConfig.load(*layers(source), given, overrides=overrides)


def test_run_asks_what_can_be_kept() -> None:
    assert dict(VERTICAL.kept) == {"ingest": kept_ingestion, "features": kept_features}


@pytest.mark.slow
def test_what_changed_is_made_again_and_nothing_else(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = telco_like(tmp_path / "source", 60, signal=1.0) / FILE
    config = config_of(tmp_path)
    warehouse = Warehouse(config.warehouse)

    def kept(*overrides: str) -> tuple[object, ...]:
        own = config_of(tmp_path, *overrides)
        results = (kept_ingestion(spark, own), kept_features(spark, own))
        return tuple(result and result.facts[KEPT_FROM] for result in results)

    def make(run_id: str) -> None:
        for step, look in ((ingest, kept_ingestion), (features, kept_features)):
            result, found = step(spark, config, run_id), look(spark, config)
            assert found.facts == {**result.facts, KEPT_FROM: run_id}
            assert found.tables == result.tables

    assert kept() == (None, None)
    make("first")
    assert kept() == ("first", "first")
    assert kept("model.knots=3", "costs.contact=1", "model.calibration=isotonic") == ("first", "first")
    assert kept("split.test=0.3") == ("first", None)
    assert kept("max_failed_share=0.5") == (None, None)
    # Columns of a file without header go by their order.
    columns = "sources.customers.columns={a: gender, b: contract}", "sources.customers.columns={b: contract, a: gender}"
    assert config_of(tmp_path, columns[0]) == config_of(tmp_path, columns[1])
    assert len({_fingerprint(spark, config_of(tmp_path, each)) for each in columns}) == 2
    with monkeypatch.context() as other_code:
        other_code.setattr(made_from, "code_digest", lambda *packages: "other")
        assert kept() == (None, None)

    file.write_text(file.read_text() + file.read_text().splitlines()[-1].replace("C0059", "C0060") + "\n")
    assert kept() == (None, "first")
    make("second")
    assert kept() == ("second", "second")

    touched = "ALTER TABLE {} SET TBLPROPERTIES ('touched' = 'yes')"
    spark.sql(touched.format(warehouse.table(FEATURES).sql))
    assert kept() == ("second", None)
    spark.sql(touched.format(warehouse.table(QUARANTINE).sql))
    assert kept() == (None, None)


@pytest.mark.slow
def test_features_of_a_table_that_was_removed_and_made_again_are_made_again(
    spark: SparkSession, tmp_path: Path
) -> None:
    source = telco_like(tmp_path / "source", 60, signal=1.0)
    config = config_of(tmp_path)
    version = ingest(spark, config, "first").tables[SILVER]["version"]
    features(spark, config, "first")

    shutil.rmtree(tmp_path / "warehouse" / SILVER)
    lines = (source / FILE).read_text().splitlines()
    (source / FILE).write_text("\n".join(lines[:-10]) + "\n")

    assert ingest(spark, config, "second").tables[SILVER]["version"] == version
    assert kept_features(spark, config) is None


def test_rows_put_aside_because_of_todays_date_are_looked_at_again(spark: SparkSession, tmp_path: Path) -> None:
    day = "{:05d} {} 1 9.77"
    lines = [" customer_id date number_of_cds dollar_value", *(day.format(n, 19970101 + n) for n in range(25))]
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "CDNOW_master.txt").write_text("\n".join([*lines, day.format(0, 29970101)]) + "\n")
    config = config_of(tmp_path)

    assert ingest(spark, config, "first").facts["rows_quarantined"] == 1
    assert kept_ingestion(spark, config) is None


def _fingerprint(spark: SparkSession, config: ChurnConfig) -> str:
    return made_from.fingerprint(spark, "churn", config.model_dump(mode="json"))
