"""Who got which model stays the same, is recorded once, and is compared by what became of the customers."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn import experiment
from churn.config import ChurnConfig
from churn.experiment import ALIAS, Arm
from churn.features import FEATURES
from shared.core.errors import ConfigError, DataError
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.features.split import by_hash
from shared.registry import tracking
from shared.registry.versions import Registered

COUNT = 4000


def arm(alias: str, share: float, version: int) -> Arm:
    return Arm(Registered("churn", version, alias, None), share)  # type: ignore[arg-type]


ARMS = (arm("champion", 0.75, 1), arm("challenger", 0.25, 2))


def config_of(folder: Path | str = "warehouse", **ab: Any) -> ChurnConfig:
    return ChurnConfig(warehouse=str(folder), ab={"split": "champion=0.75,challenger=0.25", **ab})


@pytest.fixture(scope="module")
def customers(spark: SparkSession) -> DataFrame:
    rows = spark.range(COUNT, numPartitions=2).select(F.format_string("C%05d", "id").alias("customer_id"), "id")
    return rows.withColumns({"snapshot_date": F.lit(date(2026, 1, 1)), "probability": F.rand(3)}).cache()


def arms_of(rows: DataFrame) -> dict[str, str]:
    return {row["customer_id"]: row[ALIAS] for row in rows.collect()}


def test_an_arm_gets_its_share_and_a_customer_stays_in_his_arm(customers: DataFrame) -> None:
    found = arms_of(experiment.with_arm(customers, config_of(), ARMS))

    challenged = {customer for customer, alias in found.items() if alias == "challenger"}
    assert len(challenged) / COUNT == pytest.approx(0.25, abs=0.03)
    half = experiment.with_arm(customers.where("id % 2 = 0").repartition(3), config_of(), ARMS)
    assert arms_of(half).items() <= found.items()
    more = arms_of(experiment.with_arm(customers, config_of(), (arm("champion", 0.5, 1), arm("challenger", 0.5, 2))))
    assert challenged <= {customer for customer, alias in more.items() if alias == "challenger"}  # a share that grows


def test_arms_have_nothing_to_do_with_another_experiment_or_with_the_split(customers: DataFrame) -> None:
    both = experiment.with_arm(customers, config_of(), ARMS).withColumnRenamed(ALIAS, "first")
    both = by_hash(
        experiment.with_arm(both, config_of(experiment="next"), ARMS), "customer_id", {"a": 0.25, "b": 0.75}, seed=7
    )

    for other, value in ((ALIAS, "challenger"), ("split", "a")):
        share = both.where("first = 'challenger'").agg(F.avg((F.col(other) == value).cast("int"))).first()[0]
        assert share == pytest.approx(0.25, abs=0.05), other


@pytest.fixture(scope="module")
def assigned(spark: SparkSession, customers: DataFrame, tmp_path_factory: pytest.TempPathFactory) -> ChurnConfig:
    """An experiment in which the challenger's customers leave half as often, on a warehouse of its own."""
    config = config_of(tmp_path_factory.mktemp("experiment"))
    decision = F.when(F.col("probability") > 0.5, "contact").otherwise("leave")
    scored = experiment.with_arm(customers, config, ARMS).withColumn("decision", decision)
    scored = scored.withColumn("model_version", F.when(F.col(ALIAS) == "champion", 1).otherwise(2))
    leaves = F.when(F.col(ALIAS) == "champion", F.col("id") % 5 == 0).otherwise(F.col("id") % 10 == 0)
    is_known = F.col("id") < COUNT - 500
    labels = scored.select("customer_id", "snapshot_date", F.when(is_known, leaves.cast("int")).alias("label"))
    overwrite(labels, Warehouse(config.warehouse).table(FEATURES))
    assert experiment.record(spark, config, "one", scored, ARMS, 0) == COUNT
    assert experiment.record(spark, config, "two", scored, ARMS, 0) == 0  # once
    return config


def test_who_got_which_model_is_recorded_once(spark: SparkSession, assigned: ChurnConfig) -> None:
    rows = read(spark, Warehouse(assigned.warehouse).table(experiment.ASSIGNMENTS.name))

    assert rows.count() == COUNT
    counted = rows.groupBy(ALIAS, "model_version", "share", "run_id").count().drop("count").collect()
    assert {tuple(row) for row in counted} == {("champion", 1, 0.75, "one"), ("challenger", 2, 0.25, "one")}


def test_the_report_finds_the_difference_that_was_planted(spark: SparkSession, assigned: ChurnConfig) -> None:
    found = experiment.ab_report(spark, assigned, "report")

    assert sum(found.facts["customers"].values()) == COUNT
    assert sum(found.facts["outcome_known"].values()) == COUNT - 500
    assert found.facts["split_works"]
    assert found.facts["crossed_over"] == 0
    rates = {arm: figures["churn_rate"] for arm, figures in found.metrics.items()}
    assert rates == pytest.approx({"champion": 0.2, "challenger": 0.1}, abs=0.02)
    assert found.metrics["challenger"]["auc"] == pytest.approx(0.5, abs=0.1)
    churn_rate, value = found.rows
    assert churn_rate["arms"] == "challenger - champion"
    assert churn_rate["difference"] == pytest.approx(rates["challenger"] - rates["champion"])
    assert -0.15 < churn_rate["low"] < -0.1 < churn_rate["high"] + 0.03
    assert churn_rate["high"] < 0 < value["low"]


def test_a_split_that_lost_customers_is_named(spark: SparkSession, assigned: ChurnConfig, customers: DataFrame) -> None:
    config = config_of(assigned.warehouse, experiment="broken")
    scored = experiment.with_arm(customers, config, ARMS).where("model_alias = 'champion' OR id % 3 > 0")
    scored = scored.withColumns({"decision": F.lit("leave"), "model_version": F.lit(1)})
    experiment.record(spark, config, "three", scored, ARMS, 0)
    moved = scored.where("id < 40").withColumn(
        ALIAS, F.when(F.col(ALIAS) == "champion", "challenger").otherwise("champion")
    )
    experiment.record(spark, config, "four", moved, ARMS, 0)

    found = experiment.ab_report(spark, config, "report")

    assert not found.facts["split_works"]
    assert found.facts["sample_ratio_p_value"] < 0.001
    assert found.facts["crossed_over"] == moved.count()


def scored_by(customers: DataFrame, config: ChurnConfig, who: tuple[Arm, ...]) -> DataFrame:
    rows = experiment.with_arm(customers, config, who)
    return rows.withColumns({"decision": F.lit("leave"), "model_version": F.lit(1)})


def test_a_share_that_grows_does_not_break_the_split(
    spark: SparkSession, assigned: ChurnConfig, customers: DataFrame
) -> None:
    config, half = config_of(assigned.warehouse, experiment="grown"), customers.where("id % 2 = 0")
    experiment.record(spark, config, "five", scored_by(half, config, ARMS), ARMS, 0)
    grown = (arm("champion", 0.5, 1), arm("challenger", 0.5, 2))
    experiment.record(spark, config, "six", scored_by(customers, config, grown), grown, 0)

    found = experiment.ab_report(spark, config, "report").facts

    assert sum(found["customers"].values()) == COUNT
    assert found["customers"]["challenger"] / COUNT == pytest.approx((0.25 + 0.5) / 2, abs=0.02)
    assert found["crossed_over"] / COUNT == pytest.approx(0.125, abs=0.02)  # stay in the champion's arm
    assert found["split_works"]


def test_an_arm_that_got_nobody_breaks_the_split(
    spark: SparkSession, assigned: ChurnConfig, customers: DataFrame
) -> None:
    config = config_of(assigned.warehouse, experiment="halved")
    reached = scored_by(customers, config, ARMS).where("model_alias = 'champion'")
    experiment.record(spark, config, "seven", reached, ARMS, 0)

    found = experiment.ab_report(spark, config, "report").facts

    assert (found["customers"]["challenger"], found["split_works"]) == (0, False)
    unnamed = config.model_copy(update={"ab": config.ab.model_copy(update={"split": {}})})
    assert experiment.ab_report(spark, unnamed, "report").facts["customers"] == {
        "an arm without customers": 0,
        "champion": reached.count(),
    }


def test_the_size_needed_is_told_beforehand(spark: SparkSession, assigned: ChurnConfig) -> None:
    planned = config_of(assigned.warehouse, experiment="planned", effect=0.02)

    found = experiment.ab_report(spark, planned, "plan").facts

    assert found["past_rate"] == pytest.approx(0.175, abs=0.01)
    needed = found["customers_needed"]
    assert needed["challenger"] / sum(needed.values()) == pytest.approx(0.25, abs=1e-3)
    with pytest.raises(DataError, match="EXPERIMENT_EMPTY"):
        experiment.ab_report(spark, config_of(assigned.warehouse, experiment="planned"), "report")
    with pytest.raises(ConfigError, match="EFFECT_INVALID"):
        experiment.ab_report(spark, config_of(assigned.warehouse, experiment="planned", effect=0.5), "plan")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[tracking.MlflowClient]:
    yield tracking.connect(ChurnConfig(warehouse=str(tmp_path)), "churn")
    tracking.mlflow.set_tracking_uri(None)
    tracking.mlflow.set_registry_uri(None)


def test_an_address_is_no_arm(registry: tracking.MlflowClient) -> None:
    config = ChurnConfig(ab={"split": {"champion": 0.5, "models:/churn/1": 0.5}})

    with pytest.raises(ConfigError, match="MODEL_NAME_INVALID"):
        experiment.arms(registry, ChurnConfig(ab={"split": dict(reversed(config.ab.split.items()))}))
