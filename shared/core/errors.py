"""Errors in families by whose move is next.

The family decides the exit code of the command line; the code in brackets is stable, so alerts may match on it.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class AcceleratorError(Exception):
    """Base of every error this product raises on purpose.

    Args:
        code: stable identifier in capitals, e.g. ``SCHEMA_MISMATCH``.
        found: what was found, with its value.
        expected: what was expected instead; may be empty.
        next_step: what the reader should do; may be empty.

    >>> print(DataError("EMPTY_FILE", "a.csv has no rows.", "At least one row.", "Check the export."))
    [EMPTY_FILE] a.csv has no rows. At least one row. Check the export.
    """

    exit_code = 1

    def __init__(self, code: str, found: str, expected: str = "", next_step: str = "") -> None:
        self.code, self.found, self.expected, self.next_step = code, found, expected, next_step
        super().__init__(f"[{code}] " + " ".join(part for part in (found, expected, next_step) if part))


class ConfigError(AcceleratorError):
    """The config or the command is wrong: edit it."""

    exit_code = 2


class DataError(AcceleratorError):
    """The data is not what was promised: look at the data."""

    exit_code = 3


class ModelError(AcceleratorError):
    """The model is missing or not good enough: look at the model."""

    exit_code = 4


class EnvironmentProblem(AcceleratorError):
    """The machine or a service lacks something: fix the install."""

    exit_code = 5


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint naming the closest known name, or an empty string when none is close.

    >>> did_you_mean("tenur", ["tenure", "plan"])
    "Did you mean 'tenure'?"
    >>> did_you_mean("zzz", ["tenure"])
    ''
    """
    close = get_close_matches(name, list(known), n=1)
    return f"Did you mean '{close[0]}'?" if close else ""
