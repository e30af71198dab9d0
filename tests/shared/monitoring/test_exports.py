"""What is shipped for Prometheus and Grafana: valid, and about figures that the code exports."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import shared.monitoring
from shared.core.errors import EnvironmentProblem
from shared.deploy.online.metrics import OnlineMetrics
from shared.monitoring import metrics

FOLDER = Path(shared.monitoring.__file__).parent
ONLINE = "accelerators_online_"
RULES = FOLDER / "rules" / "accelerators.yaml"
DASHBOARD = FOLDER / "dashboards" / "accelerators.json"
FIGURES: metrics.Figures = {
    name.removeprefix(metrics.PREFIX): {"data": 1.0} if name.endswith("_alerts") else 2.5 for name in metrics.NAMES
}


def promtool(*arguments: str | Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip(
            "promtool is not installed; it comes with Debian's package prometheus, which .ci/run installs when it is root"
        )
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expressions() -> Iterator[str]:
    yield from re.findall(r"expr: (.*)", RULES.read_text())
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        yield str(variable["query"])


def test_prometheus_takes_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES)


def test_the_rules_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    cases = Path(__file__).with_name("accelerators_test.yaml").read_text().replace("RULES", str(RULES))
    (tmp_path / "cases.yaml").write_text(cases)

    assert "SUCCESS" in promtool("test", "rules", tmp_path / "cases.yaml")


def test_every_name_in_rules_and_dashboard_is_exported_and_the_other_way_round() -> None:
    used = set(re.findall(rf"{metrics.PREFIX}\w+", " ".join(expressions())))
    of_service = {name for name in used if name.startswith(ONLINE)}
    text = metrics.exposition("churn", FIGURES).decode()
    exported = {family.name for family in text_string_to_metric_families(text)}

    assert len(used - of_service) > 8
    assert exported == set(metrics.NAMES) == used - of_service, text
    service = OnlineMetrics("churn")
    service.took("churn", 1)
    service.answered("score", 200, 0.001)
    for family in text_string_to_metric_families(service.as_text().decode()):
        names = {sample.name for sample in family.samples}
        assert family.name.endswith("_created") or names & of_service, f"{family.name} is in no rule and no panel"
        of_service -= names
    assert not of_service


def test_a_figure_that_is_not_known_is_left_out_and_one_that_is_not_declared_refused() -> None:
    text = metrics.exposition("churn", {"monitor_auc": None, "monitor_window_rows": 7}).decode()

    assert 'accelerators_monitor_window_rows{vertical="churn"} 7.0' in text
    assert "auc" not in text
    with pytest.raises(KeyError):
        metrics.exposition("churn", {"made_up": 1.0})


def test_prometheus_takes_the_text(tmp_path: Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip(
            "promtool is not installed; it comes with Debian's package prometheus, which .ci/run installs when it is root"
        )
    text = metrics.exposition("churn", FIGURES)
    done = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()


def test_the_text_file_is_replaced_whole_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "textfile" / "churn.prom"
    metrics.write_textfile(path, b"a 1\n")
    metrics.write_textfile(path, b"a 2\n")

    assert path.read_bytes() == b"a 2\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["churn.prom"]
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="TEXTFILE_NOT_WRITABLE"):
        metrics.write_textfile(tmp_path / "file" / "churn.prom", b"")
