"""Secrets by reference: a config names where a secret is, never the secret.

References are resolved at the moment of use; `Secret` prints as stars everywhere.
"""

import os
import re
from pathlib import Path
from typing import Final

from shared.core.errors import ConfigError, EnvironmentProblem

SCHEMES: Final = ("env", "file", "databricks")
STARS: Final = "******"
_WORDS: Final = (
    r"secret|passw(?:or)?d|passphrase|token|credential|(?<![a-z])key(?![a-z])|(?:access|account|api|private)key"
)
_SECRET_LIKE = re.compile(rf"(?i){_WORDS}")
# `…credentials.provider` and `…token.endpoint` say where or how, not what.
_ABOUT = re.compile(r"(?i)[._-](provider|enabled|class|type|file|path|endpoint|url|uri)\Z")
# A user without a password is shown, except to a web server: in abfss://container@account it is the container.
_LOGIN = re.compile(r"(?<=://)[^/@:\s]*:(?!\d+(?:/|\Z))[^@\s]*@|(?i:(?<=http://)|(?<=https://))[^/@\s]+@")
_SET = re.compile(rf"(?i)([\w.-]*(?:{_WORDS})[\w.-]*=)[^&;\s]+")


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


def is_reference(text: str) -> bool:
    """Tell whether ``text`` has the form of a secret reference.

    >>> is_reference("env:PGPASSWORD"), is_reference("hunter2")
    (True, False)
    """
    scheme, separator, rest = text.partition(":")
    return bool(separator and rest) and scheme in SCHEMES


def is_secret_like(name: str) -> bool:
    """Tell whether a setting called ``name`` holds a secret.

    >>> is_secret_like("spark.hadoop.fs.s3a.secret.key"), is_secret_like("spark.sql.mapKeyDedupPolicy")
    (True, False)
    """
    return bool(_SECRET_LIKE.search(name)) and not _ABOUT.search(name)


def without_logins(text: str) -> str:
    """Return ``text`` with stars for the logins of addresses and for values of secret-like parameters.

    >>> without_logins("https://me:hunter2@host/x?token=abc")
    'https://******@host/x?token=******'
    """
    return _SET.sub(rf"\1{STARS}", _LOGIN.sub(f"{STARS}@", text))


def refused(where: str) -> ConfigError:
    """Return the error of a secret that was written into the config at ``where``; it is not repeated."""
    return ConfigError(
        "SECRET_NOT_A_REFERENCE",
        f"{where} is written into the config.",
        "A reference: env:NAME, file:/path or databricks:scope/key.",
        "Move the secret there, and change it, since it was in a file.",
    )


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
