"""Config: defaults in the class, yaml over them, `--set a.b=c` over both; frozen afterwards.

Secrets stay references (`env:NAME`) in the config and in every log of it; see `shared.core.secrets`. `redacted` is the one
way to show a config, and errors about one do not repeat what could be a secret.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.core.errors import ConfigError, ModelError, did_you_mean
from shared.core.references import STARS, host_only, is_reference, is_secret_like, without_logins


class Settings(BaseModel):
    """Base of every config class: frozen, and a name it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), hide_input_in_errors=True)

    @classmethod
    def load(cls, *layers: str, overrides: Sequence[str] = (), origin: str = "the config") -> Self:
        """Return the settings of yaml ``layers``, later over earlier, with ``overrides`` like ``a.b=c`` on top.

        Raises:
            ConfigError: the yaml cannot be read, or a name or value is not allowed.
        """
        values = cls.values(*layers, overrides=overrides, origin=origin)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError("CONFIG_INVALID", _explain(cls, error), "", f"Edit {origin} or --set.") from None

    @classmethod
    def values(cls, *layers: str, overrides: Sequence[str] = (), origin: str = "the config") -> dict[str, Any]:
        """Return what `load` checks: the values of the layers and overrides, and no defaults.

        Values of overrides are read as yaml, so ``--set a.b=[1, 2]`` is a list. Dots part the names of settings; below a
        mapping to plain values the rest is one name, so ``--set session.conf.spark.ui.port=4050`` sets `spark.ui.port`.

        Raises:
            ConfigError: the yaml cannot be read, or an override leads nowhere.
        """
        values: dict[str, Any] = {}
        for layer in layers:
            values = merged(values, parse(layer, origin))
        for override in overrides:
            _put(cls, values, override)
        return values

    @classmethod
    def of_run(cls, recorded: Any) -> Self:
        """Return the settings that a run recorded, as `redacted` shows them.

        Raises:
            ModelError: RECORDED_CONFIG_INVALID: this version does not know them, or they were changed.
        """
        try:
            return cls.model_validate(recorded)
        except ValidationError as error:
            raise ModelError(
                "RECORDED_CONFIG_INVALID",
                f"The settings that the run recorded cannot be used: {_explain(cls, error)}",
                "Settings that this version of the product knows.",
                "Train again, or use the version that trained the model.",
            ) from None


_BY_COLUMN: Final = frozenset({"columns", "formats"})
"""Settings whose keys are names of columns, which may be called like secrets but hold none."""
_WEBHOOKS: Final = frozenset({"webhook"})
"""Settings that are addresses whose path may be a token."""


def redacted(settings: BaseModel) -> dict[str, Any]:
    """Return the settings as plain values to show: references as they are, stars for secrets and logins.

    Of a webhook the host alone is shown.
    """
    shown: dict[str, Any] = _redacted(settings.model_dump(mode="json"))
    return shown


def _redacted(value: Any, name: str = "") -> Any:
    match value:
        case dict():
            is_by_column = name in _BY_COLUMN
            return {key: _redacted(inner, "" if is_by_column else str(key)) for key, inner in value.items()}
        case list():
            return [_redacted(inner, name) for inner in value]
        case str() if is_reference(value):
            return value
        case str() | int() if is_secret_like(name) and not isinstance(value, bool):
            return STARS
        case str() if name in _WEBHOOKS:
            return host_only(value)
        case str():
            return without_logins(value)
    return value


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
        raise ConfigError("CONFIG_UNREADABLE", f"{origin} is not yaml: {_place(error)}.") from None
    if not isinstance(values, dict):
        raise ConfigError("CONFIG_UNREADABLE", f"{origin} holds a {type(values).__name__}.", "A mapping of names.")
    return values


def _place(error: yaml.YAMLError) -> str:
    # The text around the place, and names in the message of the parser, may be a password that lacks its quotes.
    mark = getattr(error, "problem_mark", None)
    problem = re.sub(r"'[^']{2,}'", "…", str(getattr(error, "problem", "") or "it cannot be read"))
    return f"{problem} at line {mark.line + 1}, column {mark.column + 1}" if mark else problem


def _put(cls: type[BaseModel], values: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator or not path.strip():
        start = re.match(r"[\w.-]*", override)
        raise ConfigError("CONFIG_INVALID", f"--set {start and start[0]!r} has no '='.", "--set name.name=value.")
    *parents, last = _names(cls, path.strip())
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError("CONFIG_INVALID", f"--set {path}: '{parent}' is not a group of settings.")
        values = child
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(
            "CONFIG_INVALID", f"The value of --set {path} is not yaml.", "--set name.name=value."
        ) from None


def _names(cls: type[BaseModel], path: str) -> list[str]:
    """Return the names that a path with dots is made of; where a mapping holds plain values, the rest is one name."""
    names: list[str] = []
    rest = path
    kind: type[BaseModel] | None = cls
    while rest:
        name, _, rest = rest.partition(".")
        names.append(name)
        field = kind.model_fields.get(name) if kind else None
        kind, is_mapping = _inside(field.annotation) if field else (None, False)
        if is_mapping and rest and kind:
            name, _, rest = rest.partition(".")
            names.append(name)
        elif is_mapping and rest:
            return [*names, rest]
    return names


def _inside(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the settings that a field holds, itself or as values of a mapping, and whether it is a mapping."""
    kinds = [annotation, *get_args(annotation)]
    settings = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return next(settings, None), any(get_origin(kind) is Mapping for kind in kinds)


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
    return f"'{name}' is {_shown(problem, where)}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _shown(problem: Any, where: tuple[int | str, ...]) -> str:
    value = problem["input"]
    is_plain = value is None or isinstance(value, str | int | float)
    if not is_plain or any(is_secret_like(str(part)) for part in where):
        return f"a {type(value).__name__}"
    return repr(without_logins(value) if isinstance(value, str) else value)


def _fields(cls: type[BaseModel], parents: tuple[int | str, ...]) -> list[str]:
    for parent in parents:
        field = cls.model_fields.get(str(parent))
        # The name inside a mapping of settings is the user's own.
        cls = (_inside(field.annotation)[0] if field else None) or cls
    return list(cls.model_fields)
