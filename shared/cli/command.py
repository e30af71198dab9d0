"""What every verb shares: its options, the settings they give, and errors as one sentence with an exit code. No Spark."""

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
import yaml

from shared.core import clock, log
from shared.core.config import read_text
from shared.core.errors import AcceleratorError
from shared.core.references import without_logins
from shared.core.run import RunConfig

Layers = Callable[[str | None], Sequence[str]]
C = TypeVar("C", bound=RunConfig)


def options() -> list[click.Parameter]:
    """Return the options of every verb."""
    return [
        click.Option(["--source"], help="Folder, file or URI of the raw data, instead of the generator."),
        click.Option(["--warehouse"], help="Folder, URI or catalog:<name> of the tables [warehouse]."),
        click.Option(["--config", "config_file"], help="Yaml file over the defaults."),
        click.Option(["--set", "overrides"], multiple=True, metavar="A.B=C", help="One setting over the config."),
        click.Option(["--seed"], type=int, help="Seed of everything random."),
        click.Option(["--run-id"], help="Run to reproduce; the id of this run otherwise."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object on stdout."),
        click.Option(["--debug"], is_flag=True, help="Show stack traces."),
    ]


def settings(kind: type[C], layers: Layers, given: Mapping[str, Any], vertical: str) -> C:
    """Return the settings of a command: its config file and options over the layers of its source.

    Raises:
        ConfigError: a file cannot be read, or a setting is not allowed.
    """
    own = read_text(given["config_file"]) if given["config_file"] else ""
    origin = given["config_file"] or f"{vertical}/conf/base.yaml"
    named = yaml.safe_dump({key: given[key] for key in ("source", "warehouse", "seed") if given[key] is not None})
    # What lies below the user's own settings depends on the source, which they may name in any of the three ways.
    source = kind.values(own, named, overrides=given["overrides"], origin=origin).get("source")
    below = layers(source if isinstance(source, str) else None)
    return kind.load(*below, own, named, overrides=given["overrides"], origin=origin)


def guarded(given: Mapping[str, Any], work: Callable[[str], None]) -> int:
    """Do the work of a verb with the id of its run and return the exit code.

    This is the outermost line, where every error becomes one message.
    """
    run_id = given["run_id"] or clock.new_run_id()
    log.configure(run_id, verbose=given["debug"])
    try:
        work(run_id)
    except AcceleratorError as error:
        if given["debug"]:
            click.echo(without_logins(traceback.format_exc()), err=True)
        click.echo(str(error), err=True)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the outermost line
        if given["debug"]:
            click.echo(without_logins(traceback.format_exc()), err=True)
        reason = without_logins((str(error).strip().splitlines() or [""])[0])
        click.echo(f"[INTERNAL] {type(error).__name__}: {reason} (run {run_id}). Repeat with --debug.", err=True)
        return 1
    return 0


def command(
    verb: str, work: Callable[[C, str], None], kind: type[C], layers: Layers, *, vertical: str
) -> click.Command:
    """Return a verb that needs no Spark session: ``work(config, run_id)``."""

    def callback(**given: Any) -> None:
        sys.exit(guarded(given, lambda run_id: work(settings(kind, layers, given, vertical), run_id)))

    return click.Command(verb, callback=callback, params=options(), help=first_line(work.__doc__))


def first_line(text: str | None) -> str:
    """Return the first line of a docstring."""
    return (text or "").strip().split("\n", maxsplit=1)[0]
