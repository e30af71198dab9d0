"""A small run of the vertical, made once for all the tests that look at what it left."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pyspark.sql import SparkSession

from shared.cli.app import command_line
from shared.cli.template.pipeline import VERTICAL

SMALL = ("--set=sample.rows=600", "--set=bootstrap_replicates=20")

Command = Callable[..., Result]


@pytest.fixture(scope="session")
def template(spark: SparkSession) -> Command:
    """Run a verb in this process, on the session of the tests."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(command_line(VERTICAL), [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def whole_run(template: Command, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `run --json` says of the embedded data."""
    result = template("run", "--json", "--warehouse", tmp_path_factory.mktemp("template") / "warehouse", *SMALL)
    if result.exit_code:
        pytest.fail(result.output)
    outcome: dict[str, Any] = json.loads(result.stdout)
    return outcome
