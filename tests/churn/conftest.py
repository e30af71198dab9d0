"""One small run of the vertical on its embedded data, shared by the tests that look at what it left."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pyspark.sql import SparkSession

from churn.pipeline import VERTICAL
from shared.cli.app import command_line

SMALL = (
    "--set=sample.customers=500",
    "--set=model.candidates=[logistic]",
    "--set=bootstrap_replicates=20",
)

Churn = Callable[..., Result]


@pytest.fixture(scope="session")
def churn(spark: SparkSession) -> Churn:
    """Run `python -m churn …` in this process, on the session of the tests."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(command_line(VERTICAL), [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def small_run(churn: Churn, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    warehouse: Path = tmp_path_factory.mktemp("churn") / "warehouse"
    result = churn("run", "--json", "--warehouse", warehouse, *SMALL)
    if result.exit_code:
        pytest.fail(result.output)
    return json.loads(result.stdout)
