"""The whole way, and what happens to input that is not as declared."""

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from shared.delta.read import read
from shared.delta.tables import Warehouse
from tests.shared.cli.template.conftest import Command


@pytest.mark.slow
def test_a_run_ends_between_chance_and_the_ceiling_with_scores_and_a_report(
    spark: SparkSession, whole_run: dict[str, Any]
) -> None:
    metrics = whole_run["metrics"]

    assert metrics["baseline"]["auc"] == 0.5 < metrics["test"]["auc"] < metrics["ceiling"]["auc"] + 0.05
    assert whole_run["model"]["alias"] == "champion"
    assert "For which rows" in Path(whole_run["report"]).read_text(encoding="utf-8")
    scores = read(spark, Warehouse(whole_run["warehouse"]).table("gold_template_scores"))
    assert scores.where("probability BETWEEN 0 AND 1").count() == 600


def test_a_broken_row_goes_to_quarantine(spark: SparkSession, template: Command, tmp_path: Path) -> None:
    good = "".join(f"R{place},{place}.5,{place % 9},basic,{place % 2 == 0}\n" for place in range(40))
    (tmp_path / "rows.csv").write_text(f"row_id,amount,visits,plan,happened\n{good}R99,much,1,basic,true\n")

    result = template("ingest", "--json", "--source", tmp_path / "rows.csv", "--warehouse", tmp_path / "warehouse")

    assert result.exit_code == 0, result.output
    (step,) = json.loads(result.stdout)["steps"]
    assert (step["rows_read"], step["rows_written"], step["rows_quarantined"]) == (41, 40, 1)


def test_a_source_that_is_not_there_is_a_usage_error(template: Command, tmp_path: Path) -> None:
    result = template("ingest", "--source", tmp_path / "nowhere", "--warehouse", tmp_path / "warehouse")

    assert result.exit_code == 2
    assert "[SOURCE_MISSING]" in result.stderr
