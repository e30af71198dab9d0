"""How a Spark session is made: the settings alone, which load no Spark; `shared.core.session` makes it."""

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import field_validator

from shared.core.config import Settings
from shared.core.references import is_reference, is_secret_like, refused, without_logins


class SessionConfig(Settings):
    """How a session is made when none runs yet.

    Args:
        master: Spark master; ``None`` is ``local[*]``, or what spark-submit says.
        remote: Spark Connect instead: ``sc://host:port`` of a server, a reference to such an address where it holds a token,
            or ``local[2]``, a master on which a server is started for this session; ``None`` is SPARK_REMOTE, if set.
        driver_memory: heap of the local JVM.
        jars: ``local`` loads the locked jars, ``provided`` leaves them to the platform.
        jar_sets: sets of `jars.lock` to load.
        shuffle_partitions: partitions after a shuffle on a local master; adaptive execution, if on, merges small ones.
        fast_start: trade peak speed for a quick start (C1 compiler, serial collector, no adaptive execution, errors of a
            query without the line of Python they come from); for tests and small data.
        conf: further Spark settings; those whose names say secret, key, password, token or credential hold references.
    """

    master: str | None = None
    remote: str | None = None
    driver_memory: str = "3g"
    jars: Literal["local", "provided"] = "local"
    jar_sets: tuple[str, ...] = ("delta",)
    shuffle_partitions: int = 4
    fast_start: bool = False
    conf: Mapping[str, str] = {}

    @field_validator("remote")
    @classmethod
    def _is_address(cls, remote: str | None) -> str | None:
        if remote is not None and not is_reference(remote) and not remote.startswith(("sc://", "local")):
            raise ValueError(
                f"session.remote is '{remote}': give sc://host:port, local[2], or a reference such as env:NAME"
            )
        if remote is not None and re.search(r"[;/]token=", remote):
            raise refused("A token in session.remote")
        return remote

    @field_validator("conf", mode="before")
    @classmethod
    def _holds_references(cls, conf: object) -> object:
        if not isinstance(conf, Mapping):
            return conf
        for name, value in conf.items():
            if is_secret_like(str(name)) and not (isinstance(value, str) and is_reference(value)):
                raise refused(f"session.conf {name}")
            if isinstance(value, str) and value != without_logins(value):
                raise refused(f"A login in session.conf {name}")
        # Yaml reads true and 3 for what Spark wants as text.
        return {name: _as_text(value) for name, value in conf.items()}


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value
