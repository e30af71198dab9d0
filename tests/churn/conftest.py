"""Small runs of the vertical, each made once for all the tests that look at what it left."""

import fcntl
import json
import math
import os
import random
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pyspark.sql import SparkSession

from churn.pipeline import VERTICAL
from shared.cli.app import command_line

QUICK = (
    "--set=model.candidates=[logistic]",
    "--set=bootstrap_replicates=20",
    "--set=gates.min_rows=20",
    "--set=gates.min_positives=5",
)
SMALL = ("--set=sample.customers=500", *QUICK)

Churn = Callable[..., Result]


@pytest.fixture(scope="session")
def churn(spark: SparkSession) -> Churn:
    """Run `python -m churn …` in this process, on the session of the tests."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(command_line(VERTICAL), [str(argument) for argument in arguments])

    return run


Runs = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def run_once(churn: Churn, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Make each run once, by whichever worker asks first, and give this worker a copy of its warehouse.

    Models and documents are not copied, since MLflow keeps whole paths: evaluating a copy replaces the one document.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def once(name: str, *arguments: str | Path) -> dict[str, Any]:
        warehouse, answer = root / f"{name}-run", root / f"{name}-run.json"
        with (root / f"{name}-run.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not answer.exists():
                shutil.rmtree(warehouse, ignore_errors=True)  # of a worker that failed
                result = churn("run", "--json", "--warehouse", warehouse, *arguments)
                if result.exit_code:
                    pytest.fail(result.output)
                answer.write_text(json.dumps(json.loads(result.stdout), ensure_ascii=False))
        left_out = shutil.ignore_patterns("mlartifacts")
        own = shutil.copytree(warehouse, tmp_path_factory.mktemp(name) / "warehouse", ignore=left_out)
        return json.loads(answer.read_text().replace(str(warehouse), str(own)))

    return once


@pytest.fixture(scope="session")
def small_run(run_once: Runs) -> dict[str, Any]:
    """A run on the embedded data."""
    return run_once("small", *SMALL)


TELCO_HEADER = (
    "customerID,gender,SeniorCitizen,Partner,Dependents,tenure,PhoneService,MultipleLines,InternetService,OnlineSecurity,"
    "OnlineBackup,DeviceProtection,TechSupport,StreamingTV,StreamingMovies,Contract,PaperlessBilling,PaymentMethod,"
    "MonthlyCharges,TotalCharges,Churn"
)


def telco_like(folder: Path, customers: int, *, signal: float) -> Path:
    """Write a file like IBM's, in which a short tenure makes ``signal`` more likely to leave."""
    draw = random.Random(4)
    lines = [TELCO_HEADER]
    for number in range(customers):
        tenure, charge = draw.randrange(1, 72), 20 + draw.randrange(80)
        leaves = draw.random() < 1 / (1 + math.exp(1 + signal * (tenure - 30) / 10))
        lines.append(
            f"C{number:04d},Female,0,Yes,No,{tenure},Yes,No,DSL,No,Yes,No,No,No,No,Month-to-month,Yes,Mailed check,"
            f"{charge}.5,{charge * tenure},{'Yes' if leaves else 'No'}"
        )
    folder.mkdir()
    (folder / "Telco-Customer-Churn.csv").write_text("\n".join(lines) + "\n")
    return folder


def cdnow_like(folder: Path, customers: int) -> Path:
    """Write a file like CDNOW's, of 78 weeks: each customer buys at a rate of his own until he stops, if he does."""
    draw, begin = random.Random(5), date(1997, 1, 1)
    lines = [" customer_id  date number_of_cds  dollar_value"]
    for number in range(customers):
        day, every, until = float(draw.randrange(84)), draw.choice([10, 40, 120]), draw.choice([100, 250, 900])
        while day < min(until, 546):
            lines.append(f" {number:05d} {begin + timedelta(days=int(day)):%Y%m%d}  1  {draw.randrange(5, 60)}.77")
            day += draw.expovariate(1 / every)
    lines += [f" {0:05d} {day}  1  9.77" for day in (19970101, 19980630)]  # the ends of the log
    folder.mkdir()
    (folder / "CDNOW_master.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def telco_run(run_once: Runs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run on a table of customers in which few things matter."""
    source = telco_like(tmp_path_factory.mktemp("telco") / "source", 500, signal=1.0)
    return run_once("telco", "--source", source, *QUICK, "--set=model.calibration=isotonic")
