"""The command line of a vertical: the same verbs, options, output and exit codes everywhere.

Only the result goes to stdout, so `--json` can be piped; progress, logs and errors go to stderr.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from shared.cli.command import first_line, guarded, options, settings
from shared.core import log
from shared.core.config import redacted
from shared.core.errors import ConfigError, did_you_mean
from shared.core.run import Kept, RunConfig, Step, StepResult
from shared.deploy.jobs import JobSpec

_LOG = log.get_logger("cli")


@dataclass(frozen=True)
class Vertical:
    """What the command line needs to know of a vertical.

    Args:
        name: the package, e.g. ``churn``.
        summary: the business question, one sentence; heads ``--help``.
        config: class of its settings.
        layers: returns the yaml texts below ``--config`` for a source.
        steps: verb → step, in the order of `run`.
        kept: verb → what gives the result of an earlier run of the step, where nothing it was made from has changed, and
            None elsewhere; asked by `run` only, as who calls a verb by name wants it done.
        others: verbs that `run` does not call.
        shortcuts: verb → its own options, each with the setting it stands for: ``{"serve": {"--port": "serving.port"}}``.
        in_run: verb → what `run` does in its place.
        arguments: verb → the option that its one argument stands for, as in ``reproduce RUN_ID``.
        jobs: whose verbs ``job NAME`` runs in order, in one session, with their arguments; what the caller says wins.
        commands: verbs that are no steps, as they need no Spark: click commands of their own.
    """

    name: str
    summary: str
    config: type[RunConfig]
    layers: Callable[[str | None], Sequence[str]]
    steps: Mapping[str, Step]
    others: Mapping[str, Step]
    kept: Mapping[str, Kept] = field(default_factory=dict)
    shortcuts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    in_run: Mapping[str, Step] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    jobs: JobSpec | None = None
    commands: Sequence[click.Command] = ()


def command_line(vertical: Vertical) -> click.Group:
    """Return the click group with a command for every step, and `run` for all of them."""
    group = click.Group(vertical.name, help=vertical.summary)
    for verb, step in {**vertical.steps, **vertical.others}.items():
        group.add_command(_command(vertical, verb, {verb: step}, step.__doc__))
    in_run = {verb: vertical.in_run.get(verb, step) for verb, step in vertical.steps.items()}
    steps = {verb: _unless_kept(step, vertical.kept.get(verb)) for verb, step in in_run.items()}
    group.add_command(
        _command(vertical, "run", steps, f"Run {', '.join(steps)}, in this order, but what nothing has changed for.")
    )
    if vertical.jobs:
        group.add_command(_jobs(vertical, vertical.jobs))
    for command in vertical.commands:
        group.add_command(command)
    return group


def main(vertical: Vertical) -> None:
    """Run the command line, and leave with the exit code of the error, if any.

    Success returns: jobs of Databricks take every SystemExit for a failure, that of code 0 too.
    """
    try:
        command_line(vertical).main(standalone_mode=True)
    except SystemExit as left:
        if left.code:
            raise


class _WithArguments(click.Command):
    """A command that begins with arguments of its own; of an option that is there twice the last counts."""

    first: Sequence[str] = ()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [*self.first, *args])


def _command(vertical: Vertical, verb: str, steps: Mapping[str, Step], text: str | None) -> _WithArguments:
    shortcuts = {**vertical.shortcuts.get(verb, {}), "--remote": "session.remote"}
    own = {option.lstrip("-").replace("-", "_"): setting for option, setting in shortcuts.items()}

    argument = vertical.arguments.get(verb)

    def callback(**given: Any) -> None:
        if argument and given["argument"] is not None:
            given[argument] = given["argument"]
        named = [f"{setting}={given[name]}" for name, setting in own.items() if given[name] is not None]
        sys.exit(_guarded(vertical, steps, {**given, "overrides": [*given["overrides"], *named]}))

    short = [click.Option([option], help=f"Short for --set {setting}=…") for option, setting in shortcuts.items()]
    arguments = [click.Argument(["argument"], required=False, metavar=argument.upper())] if argument else []
    return _WithArguments(verb, callback=callback, params=[*arguments, *short, *options()], help=first_line(text))


def _jobs(vertical: Vertical, jobs: JobSpec) -> click.Group:
    known = {**vertical.steps, **vertical.others}
    group = click.Group("job", help="Run the verbs of a scheduled job, in one session.")
    for name, verbs in jobs.verbs.items():
        unknown = [verb for verb in verbs if verb not in known]
        if unknown:
            raise ConfigError(
                "JOB_INVALID",
                f"Job '{name}' of {vertical.name} has the verb '{unknown[0]}'.",
                f"Steps of {vertical.name}. {did_you_mean(unknown[0], known)}".strip(),
                "Correct its jobs.",
            )
        command = _command(vertical, name, {verb: known[verb] for verb in verbs}, f"Run {', '.join(verbs)}.")
        command.first = jobs.arguments
        group.add_command(command)
    return group


def _unless_kept(step: Step, kept: Kept | None) -> Step:
    def done(spark: Any, config: RunConfig, run_id: str) -> StepResult:
        return (kept and kept(spark, config)) or step(spark, config, run_id)

    return done


def _guarded(vertical: Vertical, steps: Mapping[str, Step], given: Mapping[str, Any]) -> int:
    def work(run_id: str) -> None:
        config = settings(vertical.config, vertical.layers, given, vertical.name)
        outcome = _run(vertical, config, run_id, steps)
        click.echo(json.dumps(outcome, default=str) if given["as_json"] else _as_text(outcome))

    return guarded(given, work)


def _run(vertical: Vertical, config: RunConfig, run_id: str, steps: Mapping[str, Step]) -> dict[str, Any]:
    from shared.core.code import code_digest
    from shared.core.progress import showing
    from shared.core.session import get_session
    from shared.delta.tables import Warehouse, check_writable

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if vertical.kept:
        code_digest("shared", vertical.name)  # now, before somebody edits what has just been imported
    check_writable(Warehouse(config.warehouse))
    spark = get_session(config.session, f"{vertical.name}-{run_id}")
    _LOG.info("run started", extra={"config": redacted(config)})
    done: list[dict[str, Any]] = []
    results: list[StepResult] = []
    for name, step in steps.items():
        started = time.perf_counter()
        with showing(spark, name):
            result = step(spark, config, run_id)
        done.append({"step": name, "seconds": round(time.perf_counter() - started, 1), **result.facts})
        results.append(result)
        _LOG.info("step done", extra=done[-1])
    outcome: dict[str, Any] = {
        "vertical": vertical.name,
        "run_id": run_id,
        "source": config.source or "generator",
        "warehouse": config.warehouse,
        "steps": done,
    }
    for key in ("metrics", "model", "tables"):
        outcome[key] = {name: value for result in results for name, value in getattr(result, key).items()}
    outcome["rows"] = [dict(row) for result in results for row in result.rows]
    outcome["report"] = next((result.report for result in reversed(results) if result.report), None)
    return outcome


def _as_text(outcome: Mapping[str, Any]) -> str:
    lines = [f"{outcome['vertical']}  run {outcome['run_id']}  source {outcome['source']}", ""]
    for step in outcome["steps"]:
        facts = "  ".join(f"{key} {_shown(value)}" for key, value in step.items() if key not in ("step", "seconds"))
        lines.append(f"  {step['step']:<12}{step['seconds']:>7.1f} s  {facts}")
    if outcome["metrics"]:
        lines += ["", *_metric_table(outcome["metrics"])]
    if outcome["model"]:
        lines += ["", "  model   " + "  ".join(f"{key} {value}" for key, value in outcome["model"].items())]
    if outcome["rows"]:
        lines += ["", *_row_table(outcome["rows"])]
    if outcome["report"]:
        lines.append(f"  report  {outcome['report']}")
    return "\n".join(lines)


def _metric_table(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))
    header = "  " + " " * 16 + "".join(f"{kind:>18}" for kind in metrics)
    rows = ["  " + f"{name:<16}" + "".join(f"{_shown(v.get(name)):>18}" for v in metrics.values()) for name in names]
    return [header, *rows]


def _row_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [name for name, value in rows[0].items() if not isinstance(value, Mapping)]  # those are for --json
    cells = [names, *([_shown(row[name]) for name in names] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]


def _shown(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool() | str():
            return str(value)
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return "[" + ", ".join(_shown(item) for item in value) + "]"
        case _:
            return str(value)
