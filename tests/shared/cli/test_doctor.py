import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shared.__main__ import main
from shared.cli import doctor
from shared.core import jars


def test_the_table_agrees_with_the_pins_of_the_project() -> None:
    project = tomllib.loads((jars.root() / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["spark"]
    pins = dict(line.split("==") for line in needed if "==" in line)

    assert pins.items() <= doctor.PACKAGES.items()
    assert {f"{name}/{main}" for name, main in doctor.JARS.items()} <= jars.read_lock().keys()


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


def by_name(name: str, warehouse: str = "warehouse") -> doctor.Check:
    return next(check for check in doctor.checks(warehouse) if check.name == name)


def test_it_starts_where_no_package_is_installed(tmp_path: Path) -> None:
    # -S leaves out the folder of the packages, -E the variables.
    done = subprocess.run(
        [sys.executable, "-SE", "-m", "shared", "doctor", "--warehouse", str(tmp_path)],
        cwd=jars.root(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 5
    assert "pyspark" in done.stdout
    assert "not installed" in done.stdout
    assert "make demo" in done.stdout
    assert done.stderr == ""


def test_a_problem_is_exit_code_five(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TZ", "Mars/Olympus")

    assert main(["doctor"]) == 5
    assert "TZ=UTC" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "file"))

    temporary = by_name("writable: temporary")
    warehouse = by_name("writable: warehouse", str(tmp_path / "file" / "warehouse"))

    assert not temporary.is_fine
    assert not warehouse.is_fine
    assert str(tmp_path / "file") in temporary.remedy


def test_too_little_memory_and_disk_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MEMORY_GIB", 1e9)
    monkeypatch.setattr(doctor, "DISK_GIB", 1e9)

    assert not by_name("memory").is_fine
    assert not by_name("disk").is_fine


@pytest.mark.parametrize("warehouse", ["s3a://bucket/tables", "catalog:main.churn"])
def test_a_warehouse_that_only_spark_can_see_is_not_judged_by_the_working_folder(
    warehouse: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "DISK_GIB", 1e9)

    for name in ("disk", "writable: warehouse"):
        check = by_name(name, warehouse)
        assert check.is_fine
        assert "not looked at" in check.found
