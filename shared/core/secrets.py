"""Secrets by reference: a config names where a secret is, never the secret.

References are resolved at the moment of use; `Secret` prints as stars everywhere.
"""

import os
from pathlib import Path

from shared.core.errors import EnvironmentProblem
from shared.core.references import STARS, is_reference, refused


class Secret:
    """A resolved secret that does not show itself.

    >>> print(Secret("hunter2"), repr(Secret("hunter2")))
    ****** Secret(******)
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself; call it only in the line that hands it over."""
        return self._value

    def __str__(self) -> str:
        return STARS

    def __repr__(self) -> str:
        return f"Secret({STARS})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not serialised")


def resolve(reference: str) -> Secret:
    """Return the secret that ``reference`` names: ``env:NAME``, ``file:/path`` or ``databricks:scope/key``.

    Raises:
        ConfigError: the text is not a reference (the text is not repeated, it may be the secret itself).
        EnvironmentProblem: the variable, file or scope does not exist.
    """
    if not is_reference(reference):
        raise refused("A secret")
    scheme, _, rest = reference.partition(":")
    match scheme:
        case "env":
            value = os.environ.get(rest)
        case "file":
            value = Path(rest).read_text().rstrip("\n") if Path(rest).is_file() else None
        case _:
            value = _from_databricks(rest)
    if not value:
        raise EnvironmentProblem("SECRET_NOT_FOUND", f"Nothing at {reference}.", "", "Set it where the job runs.")
    return Secret(value)


def _from_databricks(rest: str) -> str | None:
    try:
        from pyspark.dbutils import DBUtils  # only on the platform
    except ImportError:
        return None
    from pyspark.sql import SparkSession

    scope, _, key = rest.partition("/")
    value: str = DBUtils(SparkSession.active()).secrets.get(scope, key)
    return value
