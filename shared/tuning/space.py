"""What is searched: ranges and choices of settings, each with an order from simple to complex.

The order is what makes 'simpler' more than a word: `Space.complexity` is the mean place of the values in their ranges.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import yaml
from pydantic import Field, model_validator

from shared.core.config import Settings
from shared.core.errors import ConfigError, did_you_mean

Value: TypeAlias = bool | int | float | str
Setting: TypeAlias = Mapping[str, Value]


class Parameter(Settings):
    """The values of one setting: a range, or choices. In yaml a list is choices: ``boosted_depth: [1, 2, 4]``.

    Args:
        low, high: ends of a range, both possible; of a setting that is a whole number, so are the values.
        log: draw and space evenly on the logarithm.
        choices: values instead of a range.
        points: values that ``grid`` takes from the range, evenly spaced, with both ends.
        simpler: which end of the range, or of the list, makes the simpler model; None is what the vertical says of the
            setting, or else ``low``.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()
    points: int = Field(3, ge=2, le=100)
    simpler: Literal["low", "high"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_list(cls, given: Any) -> Any:
        return {"choices": given} if isinstance(given, list | tuple) else given

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Parameter":
        if self.choices:
            if (self.low, self.high, self.log) != (None, None, False) or len(set(self.choices)) < 2:
                raise ValueError(
                    f"choices {list(self.choices)} of a space: two values or more, without low, high and log"
                )
            return self
        if self.low is None or self.high is None or not self.low < self.high:
            raise ValueError(f"low {self.low} and high {self.high} of a space: give both, low below high, or choices")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low} of a space with log: above 0")
        return self


@dataclass(frozen=True)
class Space:
    """The settings that are searched together.

    Args:
        parameters: by the name of the setting.
        whole: names of settings that are whole numbers.
    """

    parameters: Mapping[str, Parameter]
    whole: frozenset[str] = frozenset()

    @classmethod
    def of(cls, declared: Mapping[str, Parameter], settings: type[Settings], allowed: Sequence[str]) -> "Space":
        """Return the space of ``declared``, whose every value ``settings`` would take.

        Args:
            declared: the parameters.
            settings: class of the settings, whose fields say which numbers are whole.
            allowed: names of those that may be searched.

        Raises:
            ConfigError: SPACE_INVALID, naming the setting and what may be searched.
        """
        for name, parameter in declared.items():
            if name not in allowed:
                hint = did_you_mean(name, allowed) or f"Choose from {sorted(allowed)}."
                raise ConfigError(
                    "SPACE_INVALID", f"'{name}' is no setting of the models in use that can be searched.", "", hint
                )
            for value in parameter.choices or (parameter.low, parameter.high):
                _check(settings, name, value)
        whole = {name for name in declared if settings.model_fields[name].annotation is int}
        return cls(dict(declared), frozenset(whole))

    def distributions(self) -> dict[str, Any]:
        """Return the space in Optuna's terms."""
        from optuna import distributions

        found: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            if parameter.choices:
                found[name] = distributions.CategoricalDistribution(parameter.choices)
                continue
            low, high = self._ends(name)
            kind: Any = distributions.IntDistribution if name in self.whole else distributions.FloatDistribution
            found[name] = kind(low, high, log=parameter.log)
        return found

    def grid(self) -> dict[str, list[Value]]:
        """Return the values of each setting that a grid crosses: all choices, ``points`` of a range.

        >>> Space({"depth": Parameter(low=2, high=32, log=True)}, frozenset({"depth"})).grid()
        {'depth': [2, 8, 32]}
        """
        return {name: self._points(name) for name in self.parameters}

    def contains(self, setting: Setting) -> bool:
        """Return whether every value lies in its range or is among its choices."""
        return setting.keys() == self.parameters.keys() and all(
            value in parameter.choices if parameter.choices else self._is_between(name, value)
            for name, value, parameter in ((name, setting[name], self.parameters[name]) for name in setting)
        )

    def complexity(self, setting: Setting) -> float:
        """Return the mean place of the values between the simplest (0) and the most complex (1) of their ranges.

        On the logarithm where the range is; of choices the place in the list. What lies outside counts as the end it is
        nearest to, a choice that is not listed as the most complex.

        >>> space = Space({"depth": Parameter(low=2, high=10), "penalty": Parameter(low=0.01, high=1, log=True,
        ...                                                                         simpler="high")})
        >>> space.complexity({"depth": 4, "penalty": 1.0})
        0.125
        """
        places = [self._place(name, setting[name]) for name in self.parameters]
        return sum(places) / len(places)

    def _place(self, name: str, value: Value) -> float:
        parameter = self.parameters[name]
        if parameter.choices:
            if value not in parameter.choices:
                return 1.0
            place = parameter.choices.index(value) / (len(parameter.choices) - 1)
        else:
            scale = math.log if parameter.log else float
            low, high = (scale(end) for end in self._ends(name))
            number = float(value)
            is_below = number <= self._ends(name)[0]
            place = 0.0 if is_below else min((scale(number) - low) / (high - low), 1.0)
        return 1.0 - place if parameter.simpler == "high" else place

    def _is_between(self, name: str, value: Value) -> bool:
        low, high = self._ends(name)
        return not isinstance(value, bool | str) and low <= value <= high

    def _ends(self, name: str) -> tuple[float, float]:
        parameter = self.parameters[name]
        if parameter.low is None or parameter.high is None:
            raise ConfigError("SPACE_INVALID", f"'{name}' has choices, and no range.")
        if name in self.whole:
            return int(parameter.low), int(parameter.high)
        return parameter.low, parameter.high

    def _points(self, name: str) -> list[Value]:
        parameter = self.parameters[name]
        if parameter.choices:
            return list(parameter.choices)
        low, high = self._ends(name)
        steps = [place / (parameter.points - 1) for place in range(parameter.points)]
        values = [low * (high / low) ** step if parameter.log else low + (high - low) * step for step in steps]
        values[-1] = high  # as it was written, not as it was computed
        return sorted({round(value) for value in values}) if name in self.whole else list(values)


def with_order(own: Mapping[str, Parameter], known: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Return ``own``, with the order from simple to complex of ``known`` where it says none."""
    return {
        name: parameter.model_copy(update={"simpler": known[name].simpler})
        if parameter.simpler is None and name in known
        else parameter
        for name, parameter in own.items()
    }


def _check(settings: type[Settings], name: str, value: Value | None) -> None:
    if isinstance(value, float) and value.is_integer() and settings.model_fields[name].annotation is int:
        value = int(value)
    try:
        settings.load(yaml.safe_dump({name: value}), origin="tuning.space")
    except ConfigError as error:
        raise ConfigError("SPACE_INVALID", f"tuning.space.{name}: {error.found}") from None
