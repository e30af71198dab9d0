"""Serverless clusters speak Spark Connect: the whole run passes over such a session and finds the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.churn.conftest import Runs

pytest.importorskip("grpc", reason="pyspark[connect] is not installed")

ROOT = Path(__file__).parents[2]
# Every candidate, each as small as it gets.
TINY = (
    *("--set=sample.customers=500", "--set=bootstrap_replicates=20", "--set=model.forest_trees=3"),
    *("--set=model.forest_depth=4", "--set=model.boosted_trees=2"),
)
# The session of the tests: trees depend on how rows lie in partitions.
SESSION = ("--set=session.shuffle_partitions=2", "--set=session.driver_memory=2g", "--set=session.fast_start=true")


@pytest.mark.slow
def test_a_run_over_spark_connect_finds_what_a_classic_run_finds(run_once: Runs, tmp_path: Path) -> None:
    classic = run_once("tiny", *TINY)

    done = subprocess.run(
        [
            *(sys.executable, "-m", "churn", "run", "--remote", "local[2]", "--json", "--warehouse", tmp_path / "w"),
            *(*TINY, *SESSION),
        ],
        cwd=ROOT,
        env=os.environ | {"SPARK_REMOTE": ""} | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert [step["step"] for step in found["steps"]] == [step["step"] for step in classic["steps"]]
    for kind, values in classic["metrics"].items():
        assert found["metrics"][kind] == {name: pytest.approx(value, rel=1e-9) for name, value in values.items()}, kind
    rows = {name: table["rows"] for name, table in found["tables"].items()}
    assert rows == {name: table["rows"] for name, table in classic["tables"].items()}
    assert found["model"] == classic["model"]
    assert Path(found["report"]).stat().st_size > 50_000
