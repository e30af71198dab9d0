"""Config: defaults in the class, yaml over them, `--set a.b=c` over both; frozen afterwards.

Secrets stay references (`env:NAME`) in the config and in every log of it; see `shared.core.secrets`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.core.errors import ConfigError, did_you_mean


class Settings(BaseModel):
    """Base of every config class: frozen, and a name it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def load(cls, *layers: str, overrides: Sequence[str] = (), origin: str = "the config") -> Self:
        """Return the settings of yaml ``layers``, later over earlier, with ``overrides`` like ``a.b=c`` on top.

        Values of overrides are read as yaml, so ``--set a.b=[1, 2]`` is a list.

        Raises:
            ConfigError: the yaml cannot be read, or a name or value is not allowed.
        """
        values: dict[str, Any] = {}
        for layer in layers:
            values = merged(values, parse(layer, origin))
        for override in overrides:
            _put(values, override)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError("CONFIG_INVALID", _explain(cls, error), "", f"Edit {origin} or --set.") from None


def read_text(path: str) -> str:
    """Return the text of the config file at ``path``.

    Raises:
        ConfigError: there is no such file, or it is not UTF-8.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError("CONFIG_MISSING", f"No config file at {path}.", "", "Check --config.")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError("CONFIG_UNREADABLE", f"{path} is not UTF-8.", "A yaml file.", "Save it as UTF-8.") from None


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with ``above`` over it, mapping by mapping.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    """
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def parse(text: str, origin: str) -> dict[str, Any]:
    """Return the mapping a yaml text holds; empty for an empty text.

    Raises:
        ConfigError: it is no yaml, or no mapping.
    """
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError("CONFIG_UNREADABLE", f"{origin} is not yaml: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError("CONFIG_UNREADABLE", f"{origin} holds a {type(values).__name__}.", "A mapping of names.")
    return values


def _put(values: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator or not path.strip():
        raise ConfigError("CONFIG_INVALID", f"--set {override!r} has no '='.", "--set name.name=value.")
    *parents, last = path.strip().split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError("CONFIG_INVALID", f"--set {override!r}: '{parent}' is not a group of settings.")
        values = child
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError("CONFIG_INVALID", f"--set {override!r} is not yaml.", "--set name.name=value.") from None


def _explain(cls: type[BaseModel], error: ValidationError) -> str:
    return "; ".join(_sentence(cls, problem["loc"], problem) for problem in error.errors()[:5]) + "."


def _sentence(cls: type[BaseModel], where: tuple[int | str, ...], problem: Any) -> str:
    name = ".".join(str(part) for part in where)
    if problem["type"] == "extra_forbidden":
        known = _fields(cls, where[:-1])
        return f"unknown setting '{name}' {did_you_mean(str(where[-1]), known) or f'(known: {sorted(known)})'}".rstrip(
            "?"
        )
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return f"'{name}' is {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _fields(cls: type[BaseModel], parents: tuple[int | str, ...]) -> list[str]:
    for parent in parents:
        field = cls.model_fields.get(str(parent))
        kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        # The name inside a mapping of settings is the user's own.
        cls = inner[0] if inner else cls
    return list(cls.model_fields)
