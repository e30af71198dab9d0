import pytest
from pydantic import ValidationError

from shared.core.config import Settings, merged, read_text
from shared.core.errors import ConfigError


class Model(Settings):
    max_depth: int = 3
    trees: tuple[int, ...] = (10,)


class Example(Settings):
    name: str = "x"
    model: Model = Model()


def test_defaults_hold_where_nothing_is_said() -> None:
    assert Example.load() == Example(name="x", model=Model(max_depth=3))


def test_set_wins_over_yaml_and_later_yaml_over_earlier() -> None:
    config = Example.load("name: a\nmodel: {max_depth: 4}", "name: b", overrides=["model.max_depth=6"])

    assert (config.name, config.model.max_depth) == ("b", 6)


def test_a_layer_changes_only_what_it_names() -> None:
    assert merged({"model": {"a": 1, "b": 2}}, {"model": {"b": 3}}) == {"model": {"a": 1, "b": 3}}


def test_set_reads_lists() -> None:
    assert Example.load(overrides=["model.trees=[5, 6]"]).model.trees == (5, 6)


def test_an_unknown_setting_is_refused_with_the_closest_name() -> None:
    with pytest.raises(ConfigError, match=r"CONFIG_INVALID.*model\.max_dept.*Did you mean 'max_depth'"):
        Example.load(overrides=["model.max_dept=6"])


def test_a_wrong_value_is_named_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"'model\.max_depth' is 'deep'"):
        Example.load("model: {max_depth: deep}")


@pytest.mark.parametrize("text", ["- a\n- b", "a: [1", "just words"])
def test_a_config_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="CONFIG_UNREADABLE"):
        Example.load(text)


def test_a_set_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no '='"):
        Example.load(overrides=["model.max_depth"])


def test_a_set_below_a_plain_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a group of settings"):
        Example.load("name: a", overrides=["name.first=b"])


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Example().name = "other"


def test_a_missing_config_file_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match="CONFIG_MISSING"):
        read_text(str(tmp_path / "none.yaml"))
