"""What every vertical must pass, the one that `new-vertical` writes from included."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from pyspark.sql import SparkSession

from shared.cli.app import Vertical, command_line
from shared.delta.digest import digest
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.deploy import manifests
from tests.contract.repository import ROOT, TEMPLATE, VERTICALS, small


def vertical(name: str) -> Vertical:
    found: Vertical = import_module(f"{name}.pipeline").VERTICAL
    return found


every = pytest.mark.parametrize("name", [*VERTICALS, TEMPLATE])


@every
def test_every_verb_explains_itself(name: str) -> None:
    group = command_line(vertical(name))

    for verb in ("", *group.commands):
        result = CliRunner().invoke(group, [*([verb] if verb else []), "--help"])
        assert result.exit_code == 0, (verb, result.output)
        assert "Usage:" in result.output


@every
def test_settings_written_as_yaml_are_the_same_settings(name: str) -> None:
    config = vertical(name).config
    settings = config.load(*vertical(name).layers(None))

    assert config.load(yaml.safe_dump(settings.model_dump(mode="json"))) == settings


@every
def test_the_schema_can_be_read_without_spark(name: str) -> None:
    blocked = "import sys; sys.modules['pyspark'] = None; sys.modules['delta'] = None; "
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}import {name}.schema"], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert done.returncode == 0, done.stderr


@every
def test_the_verbs_come_in_the_common_order(name: str) -> None:
    order = ["sample", "ingest", "features", "train", "evaluate", "promote", "score-batch", "report"]

    assert [verb for verb in vertical(name).steps if verb in order] == order


@every
def test_there_are_jobs_to_train_and_to_score_for_every_platform(name: str) -> None:
    spec = manifests.load(name)
    texts = manifests.rendered(spec)

    assert {*spec.verbs["train"], *spec.verbs["score"]} <= set(command_line(vertical(name)).commands)
    assert len(texts) == 3
    assert all(f"{spec.vertical}" in path and text for path, text in texts.items())


@every
def test_the_commands_of_the_readme_exist(name: str) -> None:
    group = command_line(vertical(name))
    text = (ROOT / name.replace(".", "/") / "README.md").read_text(encoding="utf-8")
    lines = re.findall(rf"python -m {re.escape(name)} ([a-z-]+)([^\n#`]*)", text)

    assert lines
    for verb, rest in lines:
        assert verb in group.commands
        options = {option for parameter in group.commands[verb].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= options, (verb, rest)
    for module in re.findall(r"python -m (benchmarks\.\w+)", text):
        assert find_spec(module)


@pytest.fixture(scope="module")
def runs(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """One small run of each vertical, when it is first asked for."""
    done: dict[str, dict[str, Any]] = {}

    def run(name: str) -> dict[str, Any]:
        if name not in done:
            done[name] = verb(name, "run", tmp_path_factory.mktemp("contract") / "warehouse")
        return done[name]

    return run


def verb(name: str, verb: str, warehouse: Path | str) -> dict[str, Any]:
    result = CliRunner().invoke(
        command_line(vertical(name)), [verb, "--json", "--warehouse", str(warehouse), *small(name)]
    )
    if result.exit_code:
        pytest.fail(result.output)
    outcome: dict[str, Any] = json.loads(result.stdout)
    return outcome


def digests(spark: SparkSession, outcome: dict[str, Any], prefix: str) -> dict[str, str]:
    warehouse = Warehouse(outcome["warehouse"])
    names = [name for name in outcome["tables"] if name.startswith(prefix)]
    return {name: digest(read(spark, warehouse.table(name))) for name in names}


@pytest.mark.slow
@every
@pytest.mark.parametrize(("again", "prefix"), [("ingest", "silver_"), ("score-batch", "gold_")])
def test_done_twice_it_is_as_done_once(
    spark: SparkSession, runs: Callable[[str], dict[str, Any]], name: str, again: str, prefix: str
) -> None:
    outcome = runs(name)
    once = digests(spark, outcome, prefix)

    verb(name, again, outcome["warehouse"])

    assert once
    assert digests(spark, outcome, prefix) == once


@pytest.mark.slow
@every
def test_a_run_says_what_it_did(runs: Callable[[str], dict[str, Any]], name: str) -> None:
    outcome = runs(name)

    ingested = next(step for step in outcome["steps"] if step["step"] == "ingest")
    assert ingested["rows_read"] == ingested["rows_written"] + ingested["rows_quarantined"] > 0
    assert outcome["metrics"]["baseline"]["auc"] == 0.5 < outcome["metrics"]["test"]["auc"]
    assert Path(outcome["report"]).is_file()
