"""What a config may say of a secret: a reference to it, and which names and addresses could hold one in clear.

Plain text work, so that settings can be read and checked where Spark is not installed; `shared.core.secrets` resolves.
"""

import re
from typing import Final

from shared.core.errors import ConfigError

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
_HOST = re.compile(r"(?i)(https?://)(?:[^/?#\s]*@)?([^/?#@\s]+)")
# Not after a slash: `…/key=5/…` is a folder of a partition.
_SET = re.compile(rf"(?i)(?<![\w./-])([\w.-]*(?:{_WORDS})[\w.-]*=)[^&;\s]+")


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


def host_only(address: str) -> str:
    """Return a web address with stars for all behind its host, or stars alone where it is none.

    >>> host_only("https://hooks.slack.com/services/T0/B0/hunter2")
    'https://hooks.slack.com/******'
    """
    found = _HOST.match(address)
    return f"{found[1]}{found[2]}/{STARS}" if found else STARS


def refused(where: str) -> ConfigError:
    """Return the error of a secret that was written into the config at ``where``; it is not repeated."""
    return ConfigError(
        "SECRET_NOT_A_REFERENCE",
        f"{where} is written into the config.",
        "A reference: env:NAME, file:/path or databricks:scope/key.",
        "Move the secret there, and change it, since it was in a file.",
    )
