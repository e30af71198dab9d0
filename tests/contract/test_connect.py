"""Serverless clusters speak Spark Connect: the whole run passes over such a session and finds the same."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.churn.conftest import Runs

pytest.importorskip("grpc", reason="pyspark[connect], the extra connect, is not installed")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# Every candidate, each as small as it gets.
TINY = (
    *("--set=sample.customers=800", "--set=bootstrap_replicates=20", "--set=model.forest_trees=3"),
    *("--set=model.forest_depth=4", "--set=model.boosted_trees=2"),
)
# The session of the tests: trees depend on how rows lie in partitions.
SESSION = ("--set=session.shuffle_partitions=2", "--set=session.driver_memory=2g", "--set=session.fast_start=true")


def churn(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-m", "churn", *arguments]
    whole = {name: value for name, value in os.environ.items() if name != "SPARK_REMOTE"} | {"PYTHONPATH": path} | env
    return subprocess.run(command, cwd=ROOT, env=whole, capture_output=True, text=True, check=False)


def test_a_server_that_is_not_there_and_a_client_that_is_not_installed_are_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        nowhere = f"sc://127.0.0.1:{taken.getsockname()[1]}"
        absent = churn("sample", "--remote", nowhere, "--warehouse", tmp_path)
    (tmp_path / "grpc.py").write_text("raise ImportError('no grpc here')")
    path = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)])
    without = churn("sample", "--warehouse", tmp_path, PYTHONPATH=path, SPARK_REMOTE=nowhere)

    assert (absent.returncode, without.returncode) == (5, 5)
    assert "[CONNECT_UNREACHABLE] No Spark Connect server answers at 127.0.0.1:" in absent.stderr
    assert "[CONNECT_MISSING]" in without.stderr


def test_a_run_over_spark_connect_finds_what_a_classic_run_finds(run_once: Runs, tmp_path: Path) -> None:
    classic = run_once("tiny", *TINY)

    done = churn("run", "--remote", "local[2]", "--json", "--warehouse", tmp_path / "w", *TINY, *SESSION)

    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert [step["step"] for step in found["steps"]] == [step["step"] for step in classic["steps"]]
    for kind, values in classic["metrics"].items():
        assert found["metrics"][kind] == {name: pytest.approx(value, rel=1e-9) for name, value in values.items()}, kind
    rows = {name: table["rows"] for name, table in found["tables"].items()}
    assert rows == {name: table["rows"] for name, table in classic["tables"].items()}
    assert found["model"] == classic["model"]
    assert Path(found["report"]).stat().st_size > 50_000
