"""The publishers' own files, as they are."""

import json
from pathlib import Path

import pytest

from tests.churn.conftest import Churn

pytestmark = pytest.mark.realdata
QUICK = ("--set=model.candidates=[logistic]", "--set=bootstrap_replicates=20", "--json")


def test_telco_is_read_as_published_and_learned(churn: Churn, real_data: Path, tmp_path: Path) -> None:
    result = churn("run", "--source", real_data / "churn/telco_ibm", "--warehouse", tmp_path, *QUICK)

    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    ingested = next(step for step in outcome["steps"] if step["step"] == "ingest")
    assert (ingested["rows_read"], ingested["rows_quarantined"]) == (7043, 0)
    assert outcome["metrics"]["test"]["auc"] > 0.80
    assert outcome["metrics"]["test"]["brier"] < 0.15


def test_cdnow_is_read_as_published_and_its_churn_rate_is_the_known_one(
    churn: Churn, real_data: Path, tmp_path: Path
) -> None:
    result = churn("run", "--source", real_data / "churn/cdnow", "--warehouse", tmp_path, *QUICK)

    assert result.exit_code == 0, result.output
    steps = {step["step"]: step for step in json.loads(result.stdout)["steps"]}
    assert steps["ingest"]["rows_read"] == 69_659
    assert (steps["features"]["labelled"], steps["features"]["churned"]) == (23_570, 16_512)
    assert steps["features"]["snapshots_dropped"] == 0
    assert json.loads(result.stdout)["metrics"]["test"]["auc"] > 0.76


FOREIGN = {
    # File, what has to be said of it, least AUC, and what would give the outcome away.
    "table": ("predictive_maintenance/ai4i2020/ai4i2020.csv", (), 0.93, {"TWF", "HDF", "PWF", "OSF"}),
    "log": (
        "churn/cdnow/CDNOW_sample.txt",
        ("--id", "c1", "--time", "c3", "--quantity", "c4", "--amount", "c5"),
        0.70,
        set(),
    ),
    "folder of a shop": ("recommender/online_retail/by-day", (), 0.65, set()),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FOREIGN)
def test_files_without_a_reader_run_to_the_end_as_adapt_proposes(
    churn: Churn, real_data: Path, tmp_path: Path, kind: str
) -> None:
    path, said, least_auc, leaks = FOREIGN[kind]
    adapted = churn("adapt", real_data / path, "--to", tmp_path / "own.yaml", *said, "--json")
    assert adapted.exit_code == 0, adapted.output
    assert {r["column"] for r in json.loads(adapted.stdout)["roles"] if r["role"] == "leak"} == leaks

    common = ("--config", tmp_path / "own.yaml", "--warehouse", tmp_path / "warehouse")
    result = churn("run", "--source", real_data / path, *common, *QUICK)

    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert outcome["metrics"]["test"]["auc"] > least_auc
    assert Path(outcome["report"]).is_file()
