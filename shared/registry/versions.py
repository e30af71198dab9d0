"""Registered versions and the aliases that point at them; loads no Spark, so that online services can ask.

`challenger` is the newest trained version, `champion` the one that scores, `previous` the champion before it. A model
is named by alias or number alone: an address or a path in its place is refused, so it can only come from the registry
that the config names.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from shared.core.errors import ConfigError, ModelError
from shared.registry.tracking import MlflowClient, MlflowException, Run, reached

CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"
PREVIOUS: Final = "previous"
T = TypeVar("T")

_NAME: Final = re.compile(r"\A[A-Za-z][A-Za-z0-9_-]{0,63}\Z")
# An alias that is not there is an invalid parameter to MLflow's own stores.
_NOT_FOUND: Final = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Registered:
    """A version of a registered model and the MLflow run that made it."""

    name: str
    version: int
    alias: str = field(compare=False)
    run: Run = field(compare=False)

    def as_dict(self) -> dict[str, str | int]:
        """Return name, version and alias, as `run --json` shows them."""
        return {"name": self.name, "version": self.version, "alias": self.alias}


def check_name(name: str) -> str:
    """Return ``name`` when it can name a model or an alias.

    Raises:
        ConfigError: it is something else, such as ``models:/…`` or a path.

    >>> check_name("champion")
    'champion'
    >>> check_name("models:/churn/3")
    Traceback (most recent call last):
    shared.core.errors.ConfigError: [MODEL_NAME_INVALID] 'models:/churn/3' names no model of the registry. Letters, digits, _ and -; no address and no path. Name an alias: champion, challenger or previous.
    """
    if not _NAME.match(name):
        raise ConfigError(
            "MODEL_NAME_INVALID",
            f"{name[:80]!r} names no model of the registry.",
            "Letters, digits, _ and -; no address and no path.",
            "Name an alias: champion, challenger or previous.",
        )
    return name


def find(client: MlflowClient, name: str, alias: str) -> Registered:
    """Return the version of ``name`` that ``alias`` points at.

    Raises:
        ConfigError: name or alias is an address or a path.
        ModelError: the model or the alias does not exist.
        EnvironmentProblem: MLflow cannot say.
    """
    found = find_any(client, name, alias)
    if found is None:
        raise ModelError("MODEL_MISSING", f"No model '{name}' with alias '{alias}'.", "", "Run train, then promote.")
    return found


def find_any(client: MlflowClient, name: str, alias: str) -> Registered | None:
    """Return what `find` returns, or None where the model or the alias does not exist."""
    check_name(name)
    check_name(alias)
    version = there(client, lambda: client.get_model_version_by_alias(name, alias))
    if version is None:
        return None
    with reached(client.tracking_uri):
        return Registered(name, int(version.version), alias, client.get_run(str(version.run_id)))


def at_version(client: MlflowClient, name: str, version: int, run_id: str | None = None) -> Registered:
    """Return a version of ``name``, whatever aliases point at it; its own ``alias`` is empty.

    Raises:
        ModelError: the version does not exist, or another MLflow run than ``run_id`` trained it: each registry counts
            versions from 1.
        EnvironmentProblem: MLflow cannot say.
    """
    check_name(name)
    found = there(client, lambda: client.get_model_version(name, str(version)))
    if found is None or run_id not in (None, found.run_id):
        whose = f" of run {run_id}" if run_id else ""
        raise ModelError("MODEL_MISSING", f"No version {version}{whose} of model '{name}'.", "", "Restore it.")
    with reached(client.tracking_uri):
        return Registered(name, version, "", client.get_run(str(found.run_id)))


def made_by(client: MlflowClient, name: str, run: Run) -> Registered:
    """Return the version of ``name`` that a training run registered; ``alias`` is champion or challenger where it is either.

    Raises:
        ModelError: it registered none.
        EnvironmentProblem: MLflow cannot say.
    """
    with reached(client.tracking_uri):
        made = client.search_model_versions(f"run_id = '{run.info.run_id}'")
        own = [int(found.version) for found in made if found.name == check_name(name)]
        if not own:
            raise ModelError(
                "MODEL_MISSING", f"Run {run.info.run_name} registered no '{name}'.", "", "Run train, then evaluate."
            )
        aliases = client.get_model_version(name, str(own[0])).aliases
    return Registered(name, own[0], next((each for each in (CHAMPION, CHALLENGER) if each in aliases), ""), run)


def there(client: MlflowClient, ask: Callable[[], T]) -> T | None:
    """Return what ``ask`` returns, or None where what it asks the registry for does not exist.

    Raises:
        EnvironmentProblem: MLflow cannot say.
    """
    with reached(client.tracking_uri):
        try:
            return ask()
        except MlflowException as error:
            if error.error_code not in _NOT_FOUND:
                raise
            return None


def point(client: MlflowClient, name: str, alias: str, version: int | None) -> None:
    """Let ``alias`` point at ``version``; None takes the alias away.

    Raises:
        EnvironmentProblem: MLflow cannot.
    """
    with reached(client.tracking_uri):
        if version is None:
            client.delete_registered_model_alias(name, alias)
        else:
            client.set_registered_model_alias(name, alias, str(version))
