"""What `run` does not do again, and every change that makes it do so."""

from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from churn.config import ChurnConfig, layers
from churn.features import FEATURES, features, kept_features
from churn.ingest import ingest, kept_ingestion
from shared.core.run import KEPT_FROM
from shared.delta.tables import Warehouse
from tests.churn.conftest import QUICK, telco_like


def config_of(warehouse: object, *overrides: str, source: Path | None = None) -> ChurnConfig:
    given = f"{{warehouse: {warehouse}}}" if source is None else f"{{warehouse: {warehouse}, source: {source}}}"
    return ChurnConfig.load(*layers(str(source) if source else None), given, overrides=overrides)


def test_a_run_with_other_settings_of_the_model_keeps_tables_and_tells_what_they_hold(
    spark: SparkSession, small_run: dict[str, Any]
) -> None:
    size, *quick = ("sample.customers=500", *(option.removeprefix("--set=") for option in QUICK))
    other_model = config_of(small_run["warehouse"], size, *quick, "model.knots=3", "costs.contact=1")

    for step, kept in (("ingest", kept_ingestion), ("features", kept_features)):
        before = next(dict(facts) for facts in small_run["steps"] if facts["step"] == step)
        del before["step"], before["seconds"]
        result = kept(spark, other_model)
        assert result is not None
        assert result.facts == {**before, KEPT_FROM: small_run["run_id"]}
        assert all(small_run["tables"][name] == dict(facts) for name, facts in result.tables.items())

    other_label = config_of(small_run["warehouse"], size, *quick, "label.snapshots=3")
    assert kept_ingestion(spark, other_label) is not None
    assert kept_features(spark, other_label) is None
    assert kept_ingestion(spark, config_of(small_run["warehouse"], size, *quick, "max_failed_share=0.5")) is None


def test_whatever_changed_is_made_again(spark: SparkSession, tmp_path: Path) -> None:
    config = config_of(tmp_path / "warehouse", source=telco_like(tmp_path / "source", 60, signal=1.0))
    warehouse = Warehouse(config.warehouse)

    def kept() -> tuple[object, object]:
        results = (kept_ingestion(spark, config), kept_features(spark, config))
        return tuple(result and result.facts[KEPT_FROM] for result in results)

    assert kept() == (None, None)
    ingest(spark, config, "first")
    features(spark, config, "first")
    assert kept() == ("first", "first")

    file = Path(str(config.source)) / "Telco-Customer-Churn.csv"
    file.write_text(file.read_text() + file.read_text().splitlines()[-1].replace("C0059", "C0060") + "\n")
    assert kept() == (None, "first")
    assert ingest(spark, config, "second").facts["rows_read"] == 61
    assert kept() == ("second", None)
    features(spark, config, "second")
    assert kept() == ("second", "second")

    touched = "ALTER TABLE {} SET TBLPROPERTIES ('touched' = 'yes')"
    spark.sql(touched.format(warehouse.table(FEATURES).sql))
    assert kept() == ("second", None)
    spark.sql(touched.format(warehouse.table("quarantine_churn_customers").sql))
    assert kept() == (None, None)
