import tomllib

import pytest

from shared.cli import doctor
from shared.core import jars


def test_the_table_agrees_with_the_pins_of_the_project() -> None:
    project = tomllib.loads((jars.root() / "pyproject.toml").read_text())["project"]
    pins = dict(line.split("==") for line in project["dependencies"] if "==" in line)

    assert pins.items() <= doctor.PACKAGES.items()
    assert {f"{name}/{main}" for name, main in doctor.JARS.items()} <= jars.read_lock(jars.root() / "jars.lock").keys()


def test_this_machine_is_fine() -> None:
    assert [check.name for check in doctor.checks() if not check.is_fine] == []


def test_a_missing_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    (java,) = [check for check in doctor.checks() if check.name == "Java"]

    assert not java.is_fine
    assert "openjdk-17" in doctor.as_table([java])


def test_missing_jars_say_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv(jars.FOLDER_VARIABLE, str(tmp_path))

    problems = [check for check in doctor.checks() if not check.is_fine]

    assert [check.name for check in problems] == ["jars: delta", "jars: jdbc"]
    assert "make demo" in problems[0].remedy


def test_an_unknown_time_zone_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Mars/Olympus")
    zone = next(check for check in doctor.checks() if check.name == "time zone")
    assert not zone.is_fine
    assert "TZ=UTC" in zone.remedy
