"""The command line on a vertical of two steps, with a real Spark session."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from pyspark.sql import SparkSession

from shared.cli.app import Vertical, command_line, main
from shared.core.errors import ConfigError, DataError, EnvironmentProblem, ModelError
from shared.core.run import RunConfig, StepResult
from shared.deploy.jobs import Job, JobSpec, Size, Task


class Config(RunConfig):
    rows: int = 3
    token: str = ""


def count(spark: SparkSession, config: Config, run_id: str) -> StepResult:
    """Count the rows."""
    return StepResult({"rows_read": spark.range(config.rows).count()}, metrics={"test": {"auc": 0.75}})


def fail(spark: SparkSession, config: Config, run_id: str) -> StepResult:
    """Fail in the way the source names."""
    kinds = {"data": DataError, "config": ConfigError, "model": ModelError, "environment": EnvironmentProblem}
    if config.source in kinds:
        raise kinds[config.source]("EXAMPLE", "It broke.", "", "Mend it.")
    raise ValueError("not foreseen at http://ada:hunter2@host\nsecond line")


def layers(source: str | None) -> tuple[str]:
    return ("rows: 9",) if source == "nine" else ("rows: 5",)


VERTICAL = Vertical("example", "Example.", Config, layers, {"count": count}, {"fail": fail})


def run(spark: SparkSession, *arguments: str):
    return CliRunner().invoke(command_line(VERTICAL), arguments)


def test_json_is_the_only_thing_on_stdout(spark: SparkSession) -> None:
    result = run(spark, "run", "--json", "--set", "rows=4")

    outcome = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (outcome["vertical"], outcome["source"], outcome["steps"][0]["rows_read"]) == ("example", "generator", 4)
    assert outcome["metrics"] == {"test": {"auc": 0.75}}


def test_text_shows_steps_and_metrics(spark: SparkSession) -> None:
    result = run(spark, "count")

    assert "rows_read 5" in result.stdout
    assert "0.75" in result.stdout


def test_run_takes_a_kept_result_and_a_verb_by_name_does_its_work(spark: SparkSession) -> None:
    def kept(spark: SparkSession, config: Config) -> StepResult | None:
        return StepResult({"rows_read": 77}) if config.rows == 4 else None

    keeping = replace(VERTICAL, name="churn", kept={"count": kept})

    def rows(verb: str, setting: str) -> int:
        result = CliRunner().invoke(command_line(keeping), [verb, "--json", "--set", setting])
        return json.loads(result.stdout)["steps"][0]["rows_read"]

    assert rows("run", "rows=4") == 77
    assert rows("run", "rows=5") == 5
    assert rows("count", "rows=4") == 4


def test_a_verb_has_options_of_its_own_which_are_short_for_settings(spark: SparkSession) -> None:
    short = replace(VERTICAL, shortcuts={"count": {"--how-many": "rows"}})

    result = CliRunner().invoke(command_line(short), ["count", "--json", "--how-many", "4"])
    assert json.loads(result.stdout)["steps"][0]["rows_read"] == 4
    assert CliRunner().invoke(command_line(short), ["run", "--how-many", "4"]).exit_code == 2


def test_a_verb_that_is_no_step_is_a_command_of_its_own() -> None:
    hello = click.Command("hello", callback=lambda: click.echo("hello"))

    assert CliRunner().invoke(command_line(replace(VERTICAL, commands=[hello])), ["hello"]).stdout == "hello\n"


@pytest.mark.parametrize(("kind", "code"), [("config", 2), ("data", 3), ("model", 4), ("environment", 5)])
def test_an_error_is_one_line_and_its_family_is_the_exit_code(spark: SparkSession, kind: str, code: int) -> None:
    result = run(spark, "fail", "--source", kind)

    assert result.exit_code == code
    assert "[EXAMPLE] It broke. Mend it." in result.stderr
    assert "Traceback" not in result.output


def test_an_unforeseen_error_is_one_line_too(spark: SparkSession) -> None:
    result = run(spark, "fail")

    assert result.exit_code == 1
    assert "[INTERNAL] ValueError: not foreseen" in result.stderr
    assert "second line" not in result.stderr
    assert "hunter2" not in result.stderr


def test_debug_shows_the_trace_and_keeps_the_exit_code(spark: SparkSession) -> None:
    result = run(spark, "fail", "--debug")

    assert "ValueError: not foreseen" in result.stderr
    assert "hunter2" not in result.stderr
    assert "Traceback" in result.stderr
    assert result.exit_code == 1


def test_a_setting_that_is_no_yaml_is_a_usage_error(spark: SparkSession) -> None:
    result = run(spark, "count", "--set", "seed=[1")

    assert result.exit_code == 2
    assert "[CONFIG_INVALID]" in result.stderr


def test_an_unknown_setting_is_a_usage_error(spark: SparkSession) -> None:
    assert run(spark, "count", "--set", "nothing=1").exit_code == 2


def test_every_verb_has_help() -> None:
    for verb in ("run", "count", "fail"):
        assert CliRunner().invoke(command_line(VERTICAL), [verb, "--help"]).exit_code == 0


@pytest.mark.parametrize("named", [("--source", "nine"), ("--set", "source=nine"), ("--config", "own.yaml")])
def test_the_source_picks_its_settings_however_it_is_named(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("source: nine")

    assert "rows_read 9" in run(spark, "count", *named).stdout


def test_a_setting_with_dots_in_its_name_can_be_set(spark: SparkSession) -> None:
    assert run(spark, "count", "--set", "session.conf.spark.x.y=z").exit_code == 0


def test_the_log_of_a_run_holds_no_secret(spark: SparkSession) -> None:
    result = run(spark, "count", "--set", "token=hunter2", "--set", "session.conf.spark.a.password=env:NAME")

    assert '"token": "******"' in result.stderr
    assert "env:NAME" in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize("name", ["tracking_uri", "source", "warehouse"])
def test_a_login_in_an_address_is_refused_and_not_repeated(spark: SparkSession, name: str) -> None:
    result = run(spark, "count", "--set", f"{name}=postgresql://me:hunter2@host/db")

    assert result.exit_code == 2
    assert f"[SECRET_NOT_A_REFERENCE] A login in {name}" in result.stderr
    assert "hunter2" not in result.output


def jobs(*verbs: str) -> JobSpec:
    job = Job("twice", "Twice.", "0 4 * * *", tuple(Task(verb) for verb in verbs), Size(workers=0), 50)
    return JobSpec("example", (job,), arguments=("--set", "rows=7", "--source", "nine"))


def test_a_job_runs_its_verbs_in_order_with_its_arguments_below_those_given(
    spark: SparkSession, tmp_path: Path
) -> None:
    group = command_line(replace(VERTICAL, jobs=jobs("count", "again"), others={"again": count}))

    def outcome(*given: str) -> dict[str, Any]:
        result = CliRunner().invoke(group, ["job", "twice", "--json", "--warehouse", str(tmp_path), *given])
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    own, other = outcome(), outcome("--set", "rows=2", "--source", "elsewhere")

    assert [step["step"] for step in own["steps"]] == ["count", "again"]
    assert (own["source"], own["steps"][0]["rows_read"]) == ("nine", 7)
    assert (other["source"], other["steps"][0]["rows_read"]) == ("elsewhere", 2)


def test_a_job_with_a_verb_that_is_no_step_is_refused() -> None:
    with pytest.raises(ConfigError, match="verb 'cuont'") as found:
        command_line(replace(VERTICAL, jobs=jobs("cuont")))

    assert found.value.code == "JOB_INVALID"


@pytest.mark.parametrize(("source", "code"), [("nine", None), ("data", 3)])
def test_the_command_returns_when_it_ends_well_and_leaves_with_the_code_of_an_error(
    source: str, code: int | None, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["example", "count" if code is None else "fail", "--source", source, "--warehouse", str(tmp_path)]
    )

    left = None
    try:
        main(VERTICAL)
    except SystemExit as end:
        left = end.code

    assert left == code


def test_a_verb_lists_rows_and_takes_what_it_is_about_as_argument(spark: SparkSession) -> None:
    def listing(spark: SparkSession, config: Config, run_id: str) -> StepResult:
        return StepResult(rows=[{"about": run_id, "share": 0.12345, "more": {"a": 1}}])

    lists = replace(VERTICAL, others={"list": listing}, arguments={"list": "run_id"})

    def told(*arguments: str) -> str:
        return CliRunner().invoke(command_line(lists), ["list", *arguments]).stdout

    assert "about  share\n  this   0.1235" in told("this")
    assert json.loads(told("--json", "--run-id", "that"))["rows"] == [
        {"about": "that", "share": 0.12345, "more": {"a": 1}}
    ]


def test_run_may_do_another_step_in_place_of_a_verb(spark: SparkSession) -> None:
    def gentle(spark: SparkSession, config: Config, run_id: str) -> StepResult:
        return StepResult({"gentle": True})

    both = replace(VERTICAL, in_run={"count": gentle})

    def facts(verb: str) -> dict[str, object]:
        return json.loads(CliRunner().invoke(command_line(both), [verb, "--json"]).stdout)["steps"][0]

    assert facts("run")["gentle"] is True
    assert facts("count")["rows_read"] == 5
