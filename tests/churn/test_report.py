"""The report of a real run: complete, about the model it names, and asking what that model was trained for."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from html import unescape
from pathlib import Path
from re import sub
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from churn import report
from churn.config import ChurnConfig, LabelConfig
from churn.pipeline import VERTICAL
from shared.registry.models import CHALLENGER, CHAMPION, Registered
from tests.churn.conftest import SMALL, Churn
from tests.shared.report.conftest import build

EVALUATION: dict[str, Any] = {
    "test": {"rows": 1_000, "positives": 100, "auc": 0.8, "auc_ci": [0.75, 0.85], "ece": 0.01, "ece_by_chance": 0.02},
    "ceiling": {"auc": 0.9},
    "points": [[0.5, 60, 40], [0.2, 80, 120], [0.1, 100, 900]],
    "importance": [["tenure", 0.5], ["plan", 0.3], ["price", 0.2], ["region", 0.1]],
    "slices": {},
}
SCORED = {"version": 3, "rows": 500, "to_contact": 40, "undecided": 0, "directions": {}}


def shown(result_or_run: Mapping[str, Any]) -> str:
    """The words of a report, without markup and drawings' paths."""
    text = Path(result_or_run["report"]).read_text(encoding="utf-8")
    return sub(r"\s+", " ", unescape(sub(r"<style>.*?</style>|<[^>]+>", " ", sub(r"\s+", " ", text))))


def written(churn: Churn, small_run: Mapping[str, Any], *options: str) -> str:
    result = churn("report", "--json", "--warehouse", small_run["warehouse"], *options)
    assert result.exit_code == 0, result.output
    return shown(json.loads(result.stdout))


def model(alias: str = CHAMPION) -> Registered:
    return Registered("churn", 2, alias, None)


def actions(evaluation: Mapping[str, Any] = EVALUATION, scores: Any = SCORED, alias: str = CHAMPION) -> list[str]:
    return report.actions(model(alias), evaluation, scores and report.Scores(**scores), "Run again.")


def filled(value: object, path: str = "") -> Iterator[str]:
    """Names of the fields, also of what is inside, that hold something."""
    if is_dataclass(value):
        for field in fields(value):
            yield from filled(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, list | tuple) and value and is_dataclass(value[0]):
        for each in value:
            yield from filled(each, path)
    elif value not in (None, "", (), [], {}):
        yield path


def test_the_report_that_is_tested_holds_what_that_of_a_real_run_holds(
    spark: SparkSession, small_run: dict[str, Any]
) -> None:
    config = VERTICAL.config.load(*VERTICAL.layers(None), overrides=[f"warehouse={small_run['warehouse']}"])

    real, tested = report.contents(spark, config, small_run["run_id"]), build()

    no_feature_is_useless = {".dropped"}
    nothing_was_searched = {path for path in filled(tested) if path.startswith(".searches")}
    assert set(filled(real)) | no_feature_is_useless | nothing_was_searched == set(filled(tested))
    assert {field.name for field in fields(real)} == {path.split(".")[1] for path in filled(tested)}
    assert [figure.title for figure in real.figures] == [figure.title for figure in tested.figures]
    assert {table.name: table.rows for table in real.tables} == {
        name: facts["rows"] for name, facts in small_run["tables"].items() if name.startswith(("silver", "gold"))
    }


def test_the_report_of_a_run_names_the_alias_the_version_has_after_promotion(small_run: dict[str, Any]) -> None:
    assert "churn, version 1 (champion)" in shown(small_run)


def test_a_report_alone_asks_what_the_model_was_trained_for(churn: Churn, small_run: dict[str, Any]) -> None:
    text = written(churn, small_run, "--set=shape=purchases", "--set=label.gap_days=3", "--set=sample.customers=9999")

    assert "Whose service will end 30 to 60 days from now" in text
    assert "500 made-up customers" in text
    assert "silver_churn_usage" in text


def test_costs_that_changed_since_training_change_threshold_and_money(churn: Churn, small_run: dict[str, Any]) -> None:
    text = written(churn, small_run, "--set=costs.contact=30")

    assert "contacting pays from a probability of 50.0%" in text
    assert "score from 50.0%" in text
    assert "16.7%" not in text
    assert "Run score-batch again" in text


@pytest.mark.slow
def test_a_report_can_be_asked_of_a_training_run(churn: Churn, small_run: dict[str, Any], tmp_path: Path) -> None:
    warehouse = shutil.copytree(small_run["warehouse"], tmp_path / "warehouse")
    newer = churn("train", "--warehouse", warehouse, *SMALL)
    assert newer.exit_code == 0, newer.output

    text = written(churn, {"warehouse": warehouse}, "--run-id", small_run["run_id"])

    assert "churn, version 1 (champion)" in text
    assert f"Run {small_run['run_id']}" in text


def test_the_question_follows_from_the_label() -> None:
    label = LabelConfig(observation_days=90, gap_days=0, outcome_days=45)
    purchases = ChurnConfig(shape="purchases", label=label)

    assert "bought in the last 90 days will buy nothing in the 45 days that follow" in report.question(purchases)


def test_running_again_is_worth_it_when_the_outcomes_of_today_are_known() -> None:
    config = ChurnConfig(label=LabelConfig(gap_days=10, outcome_days=20))
    current = {"current": Row(rows=5, first=date(2025, 1, 1), last=date(2025, 1, 1))}

    assert "from 2025-01-31" in report.next_outcomes(config, current)
    assert "another 20 days" in report.next_outcomes(config, {})


def test_customers_are_contacted_only_by_scores_that_fit_model_and_costs() -> None:
    assert actions()[0].startswith("Contact the 40 customers")
    assert actions(alias=CHALLENGER)[0] == "Version 2 does not score: run promote and score-batch if it shall."
    assert actions(scores=None)[0].startswith("Run score-batch")
    assert actions(scores={**SCORED, "undecided": 7})[0].startswith("Run score-batch again: for 7 customers")


def test_a_slice_is_looked_at_by_the_rule_that_marks_it() -> None:
    sure = {"slice": "basic", "rows": 10_000, "observed": 0.13, "predicted": 0.10, "auc": 0.8}
    chance = {"slice": "premium", "rows": 200, "observed": 0.16, "predicted": 0.10, "auc": 0.8}

    looked_at = [action for action in actions({**EVALUATION, "slices": {"plan": [sure, chance]}}) if "plan" in action]

    assert looked_at == ["Look at plan = basic: 3.0 points less churn is predicted than was seen."]


def test_probabilities_that_are_off_are_recalibrated_before_money_decides() -> None:
    off = {**EVALUATION, "test": {**EVALUATION["test"], "ece": 0.08}}
    decided = report.thresholds.Confusion(0.2, 80, 120, 20, 780)

    assert "Recalibrate on newer rows before deciding by money: the error is 0.080." in actions(off)
    assert "taken at their word" not in " ".join(report.summary(off, decided, None))


def test_in_short_a_model_that_knows_nothing_is_said_to_know_nothing() -> None:
    decided = report.thresholds.Confusion(0.2, 80, 120, 20, 780)
    useless = {**EVALUATION, "test": {**EVALUATION["test"], "auc": 0.52, "auc_ci": [0.45, 0.59]}}

    assert report.summary(useless, decided, None) == [
        "The model is no better than chance on the test rows: do not use it."
    ]
    ranks, goes_by = report.summary(EVALUATION, decided, report.Scores(**SCORED))
    assert "holds 80% of those who leave" in ranks
    assert "75% of the way" in ranks
    assert goes_by == "What it goes by most: tenure, plan, price. Of the 500 customers scored, 40 are marked contact."
