import json
import pickle

import pytest

from shared.core.errors import ConfigError, EnvironmentProblem
from shared.core.secrets import Secret, resolve


def test_a_variable_and_a_file_are_resolved(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("from file\n")
    monkeypatch.setenv("EXAMPLE_PASSWORD", "from variable")

    assert resolve("env:EXAMPLE_PASSWORD").reveal() == "from variable"
    assert resolve(f"file:{tmp_path / 'password'}").reveal() == "from file"


def test_a_secret_in_the_config_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("hunter2")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("reference", ["env:NOT_SET_ANYWHERE", "file:/no/such/file", "databricks:scope/key"])
def test_a_reference_to_nothing_says_where_it_looked(reference: str) -> None:
    with pytest.raises(EnvironmentProblem, match="SECRET_NOT_FOUND"):
        resolve(reference)


def test_a_secret_shows_nowhere() -> None:
    secret = Secret("hunter2")

    assert "hunter2" not in f"{secret} {secret!r} {json.dumps({'a': secret}, default=str)}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
