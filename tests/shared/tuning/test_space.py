"""A space must take only what the settings take, and must know what is simpler."""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.core.config import Settings
from shared.core.errors import ConfigError
from shared.tuning.config import TuningConfig
from shared.tuning.space import Parameter, Space, with_order

ALLOWED = ("depth", "penalty", "kernel")


class Model(Settings):
    depth: int = 5
    penalty: float = 0.1
    kernel: str = "rbf"
    other: int = 1


def space(**declared: Any) -> Space:
    parameters = {name: Parameter.model_validate(value) for name, value in declared.items()}
    return Space.of(parameters, Model, ALLOWED)


SPACE = space(
    depth={"low": 2, "high": 10},
    penalty={"low": 0.01, "high": 1, "log": True, "simpler": "high"},
    kernel=["linear", "poly", "rbf"],
)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"depth": 2, "penalty": 1.0, "kernel": "linear"}, 0.0),
        ({"depth": 10, "penalty": 0.01, "kernel": "rbf"}, 1.0),
        ({"depth": 6, "penalty": 0.1, "kernel": "poly"}, 0.5),
        ({"depth": 2, "penalty": 0.1, "kernel": "linear"}, 0.5 / 3),
        ({"depth": 50, "penalty": 0.0, "kernel": "sigmoid"}, 1.0),  # outside: as the nearest end, or as the last choice
        ({"depth": 1, "penalty": 5.0, "kernel": "linear"}, 0.0),
    ],
)
def test_complexity_is_the_mean_place_between_the_simplest_and_the_most_complex(
    setting: Mapping[str, Any], expected: float
) -> None:
    assert SPACE.complexity(setting) == pytest.approx(expected)


def test_a_grid_takes_both_ends_and_evenly_spaced_points_and_all_choices() -> None:
    assert SPACE.grid() == {
        "depth": [2, 6, 10],
        "penalty": pytest.approx([0.01, 0.1, 1.0]),
        "kernel": ["linear", "poly", "rbf"],
    }
    assert [type(value) for value in SPACE.grid()["depth"]] == [int, int, int]
    assert space(depth={"low": 1, "high": 2, "points": 5}).grid() == {"depth": [1, 2]}


def test_a_setting_is_in_the_space_when_all_its_values_are() -> None:
    inside = {"depth": 2, "penalty": 1.0, "kernel": "rbf"}

    assert SPACE.contains(inside)
    assert not SPACE.contains({**inside, "depth": 11})
    assert not SPACE.contains({**inside, "kernel": "sigmoid"})
    assert not SPACE.contains({"depth": 2, "penalty": 1.0})


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"dept": [1, 2]}, r"SPACE_INVALID.*'dept' is no setting of the models in use.*Did you mean 'depth'"),
        ({"other": [1, 2]}, r"SPACE_INVALID.*Choose from \['depth', 'kernel', 'penalty'\]"),
        ({"depth": {"low": 1.5, "high": 3}}, r"SPACE_INVALID.*tuning.space.depth.*1.5"),
        ({"penalty": ["a", "b"]}, r"SPACE_INVALID.*tuning.space.penalty.*'a'"),
    ],
)
def test_what_the_settings_would_not_take_is_no_space(declared: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        space(**declared)


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        ("{low: 1}", "give both"),
        ("{low: 3, high: 3}", "low below high"),
        ("{low: 0, high: 1, log: true}", "above 0"),
        ("[4]", "two values or more"),
        ("[4, 4]", "two values or more"),
        ("{choices: [1, 2], low: 0}", "without low"),
        ("{low: 1, hihg: 2}", "Did you mean 'high'"),
    ],
)
def test_a_range_or_a_list_that_leaves_nothing_to_search_is_refused(parameter: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"CONFIG_INVALID.*{says}"):
        TuningConfig.load(f"space: {{depth: {parameter}}}")


def test_a_space_of_ones_own_keeps_the_order_of_the_known_one_unless_it_says_its_own() -> None:
    known = {"penalty": Parameter(low=1, high=2, simpler="high"), "depth": Parameter(low=1, high=2, simpler="high")}
    own = {"penalty": Parameter(low=3, high=4), "depth": Parameter(low=3, high=4, simpler="low")}

    found = with_order(own, known)

    assert {name: (each.low, each.simpler) for name, each in found.items()} == {
        "penalty": (3, "high"),
        "depth": (3, "low"),
    }
