"""The vertical from end to end, on real Spark, Delta and MLflow."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import mlflow
import pyspark
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn.config import ChurnConfig, layers
from churn.ingest import kept_ingestion
from churn.pipeline import STEPS, VERTICAL
from churn.schema import EVENT_LOG
from churn.score_batch import SCORES
from shared.core.run import KEPT_FROM
from shared.delta.digest import digest
from shared.delta.lineage import reads_of
from shared.delta.read import read
from shared.delta.tables import Warehouse
from tests.churn.conftest import QUICK, SMALL, Churn


def test_a_run_says_what_every_step_did(small_run: dict[str, Any]) -> None:
    assert [step["step"] for step in small_run["steps"]] == list(STEPS)
    assert small_run["model"] == {"name": "churn", "version": 1, "alias": "champion"}
    assert {"auc", "pr_auc", "brier", "ece", "log_loss", "lift_at_10pct", "auc_ci"} <= small_run["metrics"][
        "test"
    ].keys()


def test_every_row_read_is_written_or_quarantined(small_run: dict[str, Any]) -> None:
    ingested = next(step for step in small_run["steps"] if step["step"] == "ingest")

    assert ingested["rows_quarantined"] > 0
    assert ingested["rows_read"] == ingested["rows_written"] + ingested["rows_quarantined"]


def test_the_broken_rows_of_the_generator_and_no_others_are_quarantined(
    spark: SparkSession, small_run: dict[str, Any]
) -> None:
    folder = next(Path(small_run["warehouse"]).glob("*/manifest")).parent
    manifest = json.loads(spark.read.text(f"{folder}/manifest", wholetext=True).first()[0])

    for name, facts in manifest["tables"].items():
        quarantine = Warehouse(small_run["warehouse"]).table(f"quarantine_churn_{name}")
        assert read(spark, quarantine).count() == sum(facts["broken"].values()), name


def test_the_model_learns_and_stays_below_the_ceiling_and_its_noise(small_run: dict[str, Any]) -> None:
    test, baseline, ceiling = (small_run["metrics"][kind] for kind in ("test", "baseline", "ceiling"))

    assert test["auc_ci"][0] > baseline["auc"] == 0.5
    assert test["log_loss"] < baseline["log_loss"]
    assert test["auc"] < ceiling["auc"] + 0.03
    assert ceiling["rows"] == test["rows"]


@pytest.mark.slow
def test_the_embedded_data_are_learned_to_within_a_fiftieth_of_the_ceiling(churn: Churn, tmp_path: Path) -> None:
    result = churn("run", "--json", "--warehouse", tmp_path / "warehouse")
    assert result.exit_code == 0, result.output
    test, ceiling = (json.loads(result.stdout)["metrics"][kind] for kind in ("test", "ceiling"))

    assert ceiling["auc"] - test["auc"] <= 0.02
    assert ceiling["auc"] < 1


def test_scores_have_probability_decile_decision_and_reasons(spark: SparkSession, small_run: dict[str, Any]) -> None:
    scores = read(spark, Warehouse(small_run["warehouse"]).table(SCORES))

    assert scores.where("probability NOT BETWEEN 0 AND 1 OR probability IS NULL").count() == 0
    assert scores.where("decile NOT BETWEEN 1 AND 10").count() == 0
    assert scores.where(F.size("reasons") > 3).count() == 0
    highest, lowest = (scores.where(f"decile = {d}").agg(F.avg("probability")).first()[0] for d in (1, 10))
    assert highest > lowest
    sizes = F.transform("reasons", lambda reason: F.abs(reason["contribution"]))
    assert scores.where(sizes != F.reverse(F.array_sort(sizes))).count() == 0


def test_scoring_again_gives_the_same_table(spark: SparkSession, small_run: dict[str, Any], churn: Churn) -> None:
    scores = Warehouse(small_run["warehouse"]).table(SCORES)
    before = digest(read(spark, scores))

    assert churn("score-batch", "--warehouse", small_run["warehouse"], *SMALL).exit_code == 0

    assert digest(read(spark, scores)) == before


@pytest.mark.slow
def test_ingesting_again_gives_the_same_tables_which_are_then_kept(
    spark: SparkSession, small_run: dict[str, Any], churn: Churn
) -> None:
    silver = [
        Warehouse(small_run["warehouse"]).table(name) for name in small_run["tables"] if name.startswith("silver")
    ]
    before = [digest(read(spark, table)) for table in silver]

    result = churn("ingest", "--json", "--warehouse", small_run["warehouse"], *SMALL)

    assert result.exit_code == 0, result.output
    assert [digest(read(spark, table)) for table in silver] == before
    config = ChurnConfig.load(*layers(None), f"{{warehouse: {small_run['warehouse']}, sample: {{customers: 500}}}}")
    kept, again = kept_ingestion(spark, config), json.loads(result.stdout)
    made = {name: fact for name, fact in again["steps"][0].items() if name not in ("step", "seconds")}
    assert made["rows_quarantined"] > 0
    assert kept.facts == {**made, KEPT_FROM: again["run_id"]}
    assert kept.tables == again["tables"]


def test_lineage_names_the_versions_a_run_read(spark: SparkSession, small_run: dict[str, Any]) -> None:
    rows = reads_of(spark, Warehouse(small_run["warehouse"]), small_run["run_id"]).collect()

    read_by = {step: {row["table"] for row in rows if row["step"] == step} for step in {row["step"] for row in rows}}
    assert read_by == {
        "features": {table.name for table in EVENT_LOG},
        **{step: {"gold_churn_features"} for step in ("train", "evaluate", "score-batch")},
    }


def test_the_registered_model_holds_only_built_in_stages(small_run: dict[str, Any]) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{small_run['warehouse']}/mlflow.db")
    model = mlflow.spark.load_model("models:/churn@champion")

    assert {type(stage).__module__.split(".")[1] for stage in model.stages} == {"ml"}


def test_the_registered_model_tells_what_it_reads_and_needs_and_which_report_is_its_own(
    small_run: dict[str, Any],
) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{small_run['warehouse']}/mlflow.db")
    signature = mlflow.models.get_model_info("models:/churn@champion").signature
    folder = Path(mlflow.artifacts.download_artifacts("models:/churn@champion"))
    version = mlflow.MlflowClient().get_model_version_by_alias("churn", "champion")

    assert {"minutes_30", "plan", "messages_90"} <= set(signature.inputs.input_names())
    assert signature.outputs.input_names() == ["probability"]
    assert f"pyspark=={pyspark.__version__}" in (folder / "requirements.txt").read_text().splitlines()
    assert version.tags["report_sha256"] == hashlib.sha256(Path(small_run["report"]).read_bytes()).hexdigest()


def test_the_report_is_one_file_without_links_outward(small_run: dict[str, Any]) -> None:
    text = Path(small_run["report"]).read_text(encoding="utf-8")

    assert small_run["run_id"] in text
    assert not any(f'{attribute}="http' in text for attribute in ("src", "href"))


@pytest.mark.parametrize("verb", [*STEPS, "run", *VERTICAL.others])
def test_every_verb_has_help(churn: Churn, verb: str) -> None:
    assert churn(verb, "--help").exit_code == 0


def test_a_model_is_not_evaluated_on_a_split_it_was_not_trained_on(
    churn: Churn, telco_run: dict[str, Any], tmp_path: Path
) -> None:
    warehouse = shutil.copytree(telco_run["warehouse"], tmp_path / "warehouse")
    other = ("--source", telco_run["source"], "--set=split.test=0.3", "--set=split.validation=0.2", *QUICK)
    assert churn("features", "--warehouse", warehouse, *other).exit_code == 0

    result = churn("evaluate", "--warehouse", warehouse, *other)

    assert result.exit_code == 3, result.output
    assert "[LEAK_FITTED_ON_TEST]" in result.stderr
