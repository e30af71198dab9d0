import shutil

import pytest

from shared.core import jars
from shared.core.errors import ConfigError, EnvironmentProblem


def test_a_changed_jar_is_refused(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "jars"
    shutil.copytree(jars.folder() / "jdbc", copy / "jdbc")
    monkeypatch.setenv(jars.FOLDER_VARIABLE, str(copy))
    (jar,) = jars.paths(["jdbc"])

    jar.write_bytes(jar.read_bytes() + b"x")

    with pytest.raises(EnvironmentProblem, match="JAR_CHANGED"):
        jars.paths(["jdbc"])


def test_a_missing_jar_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(jars.FOLDER_VARIABLE, str(tmp_path))

    with pytest.raises(EnvironmentProblem, match=r"JAR_MISSING.*postgresql"):
        jars.paths(["jdbc"])


def test_an_unknown_set_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="delta"):
        jars.paths(["nonsense"])
