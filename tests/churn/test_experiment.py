"""Who got which model, and which version of it, stays the same, is recorded once, and is compared by what became of the customers."""

import json
import shutil
from collections.abc import Iterator
from datetime import date, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from churn import experiment
from churn.config import ChurnConfig
from churn.experiment import ALIAS, Arm
from churn.features import FEATURES
from churn.score_batch import SCORES
from shared.core.errors import ConfigError, DataError, ModelError
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.features.split import by_hash
from shared.registry import tracking, versions
from shared.registry.versions import Registered
from tests.churn.conftest import Churn

COUNT = 4000


def arm(alias: str, share: float, version: int) -> Arm:
    return Arm(Registered("churn", version, alias, None), share)  # type: ignore[arg-type]


ARMS = (arm("champion", 0.75, 1), arm("challenger", 0.25, 2))


def decided() -> dict[str, Column]:
    return {"decision": F.lit("leave"), "model_version": F.lit(1), "model_run_id": F.lit("run")}


def config_of(folder: Path | str = "warehouse", **ab: Any) -> ChurnConfig:
    costs = {"contact": 10.0, "value_saved": 200.0, "success_rate": 0.3}  # all of them, so no model is asked for others
    return ChurnConfig(warehouse=str(folder), ab={"split": "champion=0.75,challenger=0.25", **ab}, costs=costs)


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


def test_the_order_in_which_arms_are_written_plays_no_part(customers: DataFrame) -> None:
    three = (arm("champion", 0.5, 1), arm("challenger", 0.3, 2), arm("previous", 0.2, 3))

    found = [arms_of(experiment.with_arm(customers, config_of(), who)) for who in permutations(three)]

    assert all(other == found[0] for other in found[1:])
    shares = {each.model.alias: list(found[0].values()).count(each.model.alias) / COUNT for each in three}
    assert shares == pytest.approx({"champion": 0.5, "challenger": 0.3, "previous": 0.2}, abs=0.03)


def test_who_is_recorded_keeps_his_arm_and_only_others_are_drawn(spark: SparkSession, customers: DataFrame) -> None:
    days = [("C00000", "previous", 1), ("C00000", "challenger", 2), ("C00001", "gone", 1), ("C00002", "challenger", 1)]
    days += [("C00003", "gone", 1), ("C00003", "challenger", 2), ("C00003", "champion", 3)]
    before = spark.createDataFrame(
        [(who, alias, date(2026, 1, day), datetime(2026, 1, day), 1) for who, alias, day in days],
        "customer_id string, model_alias string, snapshot_date date, assigned_ts timestamp, model_version int",
    )
    three = (arm("champion", 0.98, 1), arm("challenger", 0.01, 2), arm("previous", 0.01, 3))

    drawn = arms_of(experiment.with_arm(customers, config_of(), three))
    found = arms_of(experiment.with_arm(customers, config_of(), three, before))

    kept = {"C00000": "previous", "C00002": "challenger", "C00003": "challenger"}
    assert found == drawn | kept
    assert {drawn[customer] for customer in kept} == {"champion"}  # as drawn, all would have moved


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
    version = F.when(F.col(ALIAS) == "champion", 1).otherwise(2)
    scored = scored.withColumns({"model_version": version, "model_run_id": F.lit("run")})
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
    # Three standard errors of the smaller arm: which customers are drawn is chance, though always the same.
    assert rates == pytest.approx({"champion": 0.2, "challenger": 0.1}, abs=0.03)
    assert found.metrics["challenger"]["auc"] == pytest.approx(0.5, abs=0.1)
    churn_rate, value = found.rows
    assert churn_rate["arms"] == "challenger - champion"
    assert churn_rate["difference"] == pytest.approx(rates["challenger"] - rates["champion"])
    assert -0.15 < churn_rate["low"] < -0.1 < churn_rate["high"] + 0.03
    assert churn_rate["high"] < 0 < value["low"]


def test_a_split_that_lost_customers_is_named(spark: SparkSession, assigned: ChurnConfig, customers: DataFrame) -> None:
    config = config_of(assigned.warehouse, experiment="broken")
    scored = experiment.with_arm(customers, config, ARMS).where("model_alias = 'champion' OR id % 3 > 0")
    scored = scored.withColumns(decided())
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
    before = experiment.assigned(customers.sparkSession, config)
    rows = experiment.with_arm(customers, config, who, before)
    return rows.withColumns(decided())


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
    assert found["crossed_over"] == 0
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


def add_version(registry: tracking.MlflowClient, run_id: str) -> int:
    """Register a version that is never loaded."""
    return int(registry.create_model_version("churn", "nowhere", run_id).version)


def recorded(spark: SparkSession, *rows: tuple[str, int], run_id: str | None = None) -> DataFrame:
    """Rows of an experiment, in the order of their recording."""
    numbered = [(alias, version, run_id, datetime(2026, 1, day)) for day, (alias, version) in enumerate(rows, 1)]
    columns = "model_alias string, model_version int, model_run_id string, assigned_ts timestamp"
    return spark.createDataFrame(numbered, columns)


def test_an_arm_keeps_the_version_that_scored_first(spark: SparkSession, registry: tracking.MlflowClient) -> None:
    run_id = registry.create_run(registry.create_experiment("arms")).info.run_id
    registry.create_registered_model("churn")
    for alias, version in [
        (alias, add_version(registry, run_id)) for alias in ("champion", "challenger", "challenger")
    ]:
        versions.point(registry, "churn", alias, version)
    written = ChurnConfig(ab={"split": "challenger=0.25,champion=0.75"})

    fresh = experiment.arms(registry, written)
    assert [(each.model.alias, each.model.version, each.share) for each in fresh] == [
        ("champion", 1, 0.75),
        ("challenger", 3, 0.25),
    ]
    assert experiment.frozen_versions(fresh) == {}

    before = recorded(spark, ("champion", 1), ("challenger", 2), ("challenger", 3))
    kept = experiment.arms(registry, written, before)
    assert [(each.model.alias, each.model.version) for each in kept] == [("champion", 1), ("challenger", 2)]
    assert experiment.frozen_versions(kept) == {"challenger": 2}

    versions.point(registry, "churn", "champion", 3)  # promoted meanwhile
    assert experiment.frozen_versions(experiment.arms(registry, written, before)) == {"champion": 1, "challenger": 2}

    with pytest.raises(ConfigError, match=r"EXPERIMENT_SAME_MODEL.*both version 2.*ab\.experiment=NAME"):
        experiment.arms(registry, written, recorded(spark, ("champion", 2), ("challenger", 2)))
    experiment.arms(registry, written, recorded(spark, ("champion", 1), ("challenger", 2), run_id=run_id))
    with pytest.raises(ModelError, match="EXPERIMENT_MODEL_MISSING"):  # the same number in another registry
        experiment.arms(registry, written, recorded(spark, ("champion", 1), ("challenger", 2), run_id="other"))
    registry.delete_model_version("churn", "2")
    with pytest.raises(ModelError, match=r"EXPERIMENT_MODEL_MISSING.*Version 2 .*ab\.experiment=NAME"):
        experiment.arms(registry, written, before)


def test_a_model_trained_meanwhile_scores_nobody_in_a_running_experiment(
    spark: SparkSession, churn: Churn, telco_run: dict[str, Any], tmp_path: Path
) -> None:
    warehouse = Warehouse(str(shutil.copytree(telco_run["warehouse"], tmp_path / "warehouse")))
    client = tracking.connect(ChurnConfig(warehouse=warehouse.root), "churn")
    first = client.get_model_version("churn", "1")

    def train_again() -> None:  # the same model under another number
        made = client.create_model_version("churn", first.source, first.run_id, tags=first.tags)
        versions.point(client, "churn", "challenger", int(made.version))

    def score(split: str, *more: str) -> dict[str, Any]:
        result = churn("score-batch", "--json", "--warehouse", warehouse.root, "--split", split, *more)
        assert result.exit_code == 0, result.output
        return dict(json.loads(result.stdout)["steps"][0])

    def scored() -> dict[str, tuple[str, int]]:
        rows = read(spark, warehouse.table(SCORES)).collect()
        return {row["customer_id"]: (row[ALIAS], row["model_version"]) for row in rows}

    train_again()
    begun = score("champion=0.8,challenger=0.2")
    before = scored()
    assert set(before.values()) == {("champion", 1), ("challenger", 2)}
    assert "frozen_versions" not in begun

    train_again()
    again = score("challenger=0.5,champion=0.5")
    assert scored() == before
    assert (again["rows_scored"], again["rows_unchanged"]) == (0, len(before))  # what was scored is used again
    assert again["frozen_versions"] == {"challenger": 2}

    score("champion=0.5,challenger=0.5", "--experiment", "next")
    assert set(scored().values()) == {("champion", 1), ("challenger", 3)}

    features = warehouse.table(FEATURES)
    overwrite(read(spark, features), features)  # made again, so what became of the customers is known
    report = churn("ab-report", "--json", "--warehouse", warehouse.root)
    assert report.exit_code == 0, report.output
    metrics = json.loads(report.stdout)["metrics"]
    # Of the 400 that a customer is worth in this table; by default he is worth 200.
    assert all(250 < figures["value_per_customer"] < 400 for figures in metrics.values()), metrics
