"""Who is scored, and what a score says: decision, decile, model, reasons."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from churn.features import FEATURES
from churn.score_batch import SCORES, decile
from shared.core.errors import DataError
from shared.delta.digest import digest
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from tests.churn.conftest import Churn


@pytest.fixture
def telco(telco_run: dict[str, Any], tmp_path: Path) -> Warehouse:
    """A copy of the warehouse of the run on customers."""
    return Warehouse(str(shutil.copytree(telco_run["warehouse"], tmp_path / "warehouse")))


def scores(spark: SparkSession, warehouse: Warehouse) -> DataFrame:
    return read(spark, warehouse.table(SCORES))


def decisions(spark: SparkSession, warehouse: Warehouse) -> dict[str, tuple[float, str]]:
    return {row["customer_id"]: (row["probability"], row["decision"]) for row in scores(spark, warehouse).collect()}


def test_a_tenth_of_the_customers_is_a_decile_and_equal_scores_share_one(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(number / 20,) for number in range(1, 21)], "probability double")
    found = [row[0] for row in rows.orderBy("probability").select(decile(rows)).collect()]
    assert found == [10, 10, 9, 9, 8, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1]

    tied = spark.createDataFrame([(0.1,)] * 9 + [(0.9,)], "probability double")
    assert sorted(row[0] for row in tied.select(decile(tied)).collect()) == [1] + [10] * 9

    with pytest.raises(DataError, match="NOBODY_TO_SCORE"):
        decile(rows.limit(0))


def test_a_customer_is_contacted_from_the_probability_at_which_it_pays(
    spark: SparkSession, small_run: dict[str, Any]
) -> None:
    step = next(step for step in small_run["steps"] if step["step"] == "score-batch")
    found = decisions(spark, Warehouse(small_run["warehouse"]))

    assert step["threshold"] == pytest.approx(10 / (0.3 * 200))  # the defaults of the costs
    assert {(p >= step["threshold"], decision) for p, decision in found.values()} == {
        (True, "contact"),
        (False, "leave"),
    }
    assert sum(decision == "contact" for _, decision in found.values()) == step["to_contact"]


def test_a_score_names_the_model_it_is_from(spark: SparkSession, small_run: dict[str, Any]) -> None:
    named = scores(spark, Warehouse(small_run["warehouse"])).select("model_name", "model_version").distinct().collect()

    assert [tuple(row) for row in named] == [("churn", small_run["model"]["version"])]


def test_other_costs_change_decisions_without_training_and_the_same_costs_change_nothing(
    spark: SparkSession, churn: Churn, telco: Warehouse
) -> None:
    before, content = decisions(spark, telco), digest(scores(spark, telco))

    same = churn(
        "score-batch", "--warehouse", telco.root, "--set=costs={contact: 20, value_saved: 400, success_rate: 0.3}"
    )
    assert same.exit_code == 0, same.output
    assert digest(scores(spark, telco)) == content

    dear = churn(
        "score-batch",
        "--json",
        "--warehouse",
        telco.root,
        "--set=costs={contact: 60, value_saved: 400, success_rate: 0.3}",
    )
    assert dear.exit_code == 0, dear.output
    after = decisions(spark, telco)
    assert {customer: p for customer, (p, _) in after.items()} == {customer: p for customer, (p, _) in before.items()}
    assert all((decision == "contact") == (p >= 0.5) for p, decision in after.values())
    assert json.loads(dear.stdout)["steps"][0]["to_contact"] < sum(d == "contact" for _, d in before.values())


def test_of_a_table_of_customers_those_who_left_are_counted_and_not_scored(
    spark: SparkSession, churn: Churn, telco: Warehouse
) -> None:
    # The command names neither the source nor the shape: they are those of the training run.
    result = churn("score-batch", "--json", "--warehouse", telco.root)

    assert result.exit_code == 0, result.output
    step = json.loads(result.stdout)["steps"][0]
    customers = read(spark, telco.table("silver_churn_customers"))
    stayed = {row[0] for row in customers.where("churn = 'No'").select("customer_id").collect()}
    assert set(decisions(spark, telco)) == stayed
    assert (step["rows_unchanged"], step["left_already"]) == (len(stayed), 500 - len(stayed))


def test_scores_are_not_replaced_by_an_empty_table(spark: SparkSession, churn: Churn, telco: Warehouse) -> None:
    content = digest(scores(spark, telco))
    features = telco.table(FEATURES)
    overwrite(read(spark, features).where("label = 1"), features)

    result = churn("score-batch", "--warehouse", telco.root)

    assert result.exit_code == 3, result.output
    assert "[NOBODY_TO_SCORE]" in result.stderr
    assert digest(scores(spark, telco)) == content


def test_reasons_are_the_largest_contributions_of_features_the_model_reads(
    spark: SparkSession, small_run: dict[str, Any]
) -> None:
    warehouse = Warehouse(small_run["warehouse"])
    rows = (
        scores(spark, warehouse)
        .join(read(spark, warehouse.table(FEATURES)), ["customer_id", "snapshot_date"])
        .collect()
    )

    assert rows
    for row in rows:
        assert 1 <= len(row["reasons"]) <= 3
        for reason in row["reasons"]:
            value = row[reason["feature"]]
            value = " ".join(value) if isinstance(value, list) else value
            is_text = value is None or isinstance(value, str)
            assert value == (reason["value"] if is_text else pytest.approx(float(reason["value"]))), reason
        sizes = [abs(reason["contribution"]) for reason in row["reasons"]]
        assert sizes == sorted(sizes, reverse=True)
