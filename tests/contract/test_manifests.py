"""The committed manifests are those of the vertical's job definition, and hold together."""

import ast
import json
import os
import re
import shlex
import tomllib
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from churn.jobs import JOBS
from churn.pipeline import VERTICAL
from shared.__main__ import main
from shared.cli.app import command_line
from shared.deploy import manifests
from shared.deploy.jobs import JobSpec

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "churn" / "deploy" / "databricks.yml"
SCHEMA = "DATABRICKS_BUNDLE_SCHEMA"
CRD = "SPARK_OPERATOR_CRD"


class Unique(yaml.SafeLoader):
    """Refuses a key that is there twice, of which yaml would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(self.construct_object(key, deep=True) for key, _ in node.value)
        twice = [key for key, count in keys.items() if count > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read(path: Path) -> list[dict[str, Any]]:
    return list(yaml.load_all(path.read_text(), Loader=Unique))


def problems(bundle: dict[str, Any]) -> list[str]:
    """Return what the published schema cannot see: names that lead nowhere."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = []
    known = {f"var.{name}" for name in bundle["variables"]} | {"bundle.name", "bundle.target"}
    for name in set(re.findall(r"\$\{([^}]*)\}", json.dumps(bundle))) - known:
        found.append(f"variable {name}")
    for key, job in bundle["resources"]["jobs"].items():
        clusters = {cluster["job_cluster_key"] for cluster in job["job_clusters"]}
        tasks = [task["task_key"] for task in job["tasks"]]
        found += [f"{key}: task {name} twice" for name, count in Counter(tasks).items() if count > 1]
        if not re.fullmatch(r"0 \S+ \S+ (\?|\S+) \S+ (\?|\S+)", job["schedule"]["quartz_cron_expression"]):
            found.append(f"{key}: schedule")
        for place, task in enumerate(job["tasks"]):
            wheel = task["python_wheel_task"]
            ahead = {each["task_key"] for each in task.get("depends_on", [])}
            found += [f"{key}: {task['task_key']} after {name}" for name in ahead - set(tasks[:place])]
            if task["job_cluster_key"] not in clusters:
                found.append(f"{key}: cluster {task['job_cluster_key']}")
            if wheel["package_name"] != project["name"].replace("-", "_"):
                found.append(f"{key}: package {wheel['package_name']}")
            if wheel["entry_point"] not in project["scripts"]:
                found.append(f"{key}: entry point {wheel['entry_point']}")
            if wheel["parameters"][0] != task["task_key"]:
                found.append(f"{key}: verb {wheel['parameters'][0]}")
    return found


def test_the_committed_files_are_what_the_job_definition_renders(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manifests", "churn", "--check"]) == 0, capsys.readouterr().out


def test_a_file_that_was_edited_or_is_gone_fails_the_check_until_it_is_written_again(tmp_path: Path) -> None:
    written = manifests.write(JOBS, tmp_path)
    (tmp_path / written[0]).write_text("edited")
    (tmp_path / written[1]).unlink()

    assert sorted(written) == sorted(manifests.rendered(JOBS))
    assert manifests.differing(JOBS, tmp_path) == written[:2]
    assert manifests.write(JOBS, tmp_path) == written[:2]
    assert manifests.differing(JOBS, tmp_path) == []


def test_a_vertical_without_jobs_is_a_wrong_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manifests", "weather"]) == 2
    assert "VERTICAL_UNKNOWN" in capsys.readouterr().err


def test_every_verb_of_a_job_is_a_command() -> None:
    verbs = {verb for job in JOBS.jobs for verb in job.verbs}

    assert verbs - set(command_line(VERTICAL).commands) == set()


def test_there_is_a_job_to_train_to_score_to_monitor_and_to_retrain() -> None:
    assert set(JOBS.verbs) == {"train", "score", "monitor", "retrain"}


def test_all_names_in_the_bundle_lead_somewhere() -> None:
    assert problems(read(BUNDLE)[0]) == []


def rename(key: str, value: str) -> Callable[[dict[str, Any]], None]:
    def change(task: dict[str, Any]) -> None:
        task[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda task: task.update(depends_on=[{"task_key": "nowhere"}]), "after nowhere"),
        (rename("job_cluster_key", "nowhere"), "cluster nowhere"),
        (rename("task_key", "ingest"), "task ingest twice"),
        (lambda task: task["python_wheel_task"].update(entry_point="nowhere"), "entry point nowhere"),
        (lambda task: task["python_wheel_task"]["parameters"].append("${var.nowhere}"), "variable var.nowhere"),
    ],
)
def test_a_name_that_leads_nowhere_is_found(change: Callable[[dict[str, Any]], None], expected: str) -> None:
    bundle = deepcopy(read(BUNDLE)[0])
    change(bundle["resources"]["jobs"]["churn_score"]["tasks"][1])

    assert expected in " ".join(problems(bundle))


def test_the_bundle_keeps_the_published_schema() -> None:
    if SCHEMA not in os.environ:
        pytest.skip(
            f"{SCHEMA} names no file; write one with: databricks bundle schema > FILE. Its licence forbids a copy"
        )
    schema = json.loads(Path(os.environ[SCHEMA]).read_text())

    jsonschema.validate(read(BUNDLE)[0], schema)


def test_each_job_is_one_application_of_the_image() -> None:
    applications = read(ROOT / "churn" / "deploy" / "spark-application.yaml")
    image = (ROOT / "churn" / "deploy" / "Dockerfile").read_text()

    assert [each["metadata"]["name"] for each in applications] == [f"churn-{name}" for name in JOBS.verbs]
    for job, each in zip(JOBS.jobs, applications, strict=True):
        spec = each["spec"]
        assert (each["apiVersion"], each["kind"]) == ("spark.apache.org/v1", "SparkApplication")
        assert spec["driverArgs"][:2] == ["job", job.name]
        assert all(isinstance(value, str) for value in spec["sparkConf"].values())  # as the operator's schema wants
        assert spec["pyFiles"].removeprefix("local://") in image
        assert f"apache/spark:{spec['runtimeVersions']['sparkVersion']}-" in image
    assert f"pyspark=={manifests.SPARK_VERSION}" in (ROOT / "requirements.lock").read_text()


def test_names_arguments_and_summaries_of_any_kind_are_written_as_the_platform_reads_them() -> None:
    job = replace(JOBS.jobs[0], name="re_train", summary='Says "go" and \\ ends', timeout_minutes=7)
    spec = JobSpec("card_risk", (job,), arguments=("--set", "costs.note=it's 5 $", "--warehouse", "mine"))
    application = manifests.spark_applications(spec)[0]
    task = manifests.bundle(spec)["resources"]["jobs"]["card_risk_re_train"]["tasks"][0]
    dag = next(node for node in ast.parse(manifests.airflow(spec)).body if isinstance(node, ast.With))
    texts = [node.value for node in ast.walk(dag) if isinstance(node, ast.Constant)]

    names = [application["metadata"]["name"], *application["metadata"]["labels"].values()]
    names += [value for key, value in application["spec"]["sparkConf"].items() if key.endswith("claimName")]
    assert "card-risk-data" in names
    assert [name for name in names if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name)] == []
    assert application["spec"]["driverSpec"]["podTemplateSpec"]["spec"]["activeDeadlineSeconds"] == 7 * 60
    assert task["python_wheel_task"]["parameters"][:4] == ["ingest", *spec.arguments[:3]]
    assert task["python_wheel_task"]["parameters"].index("${var.warehouse}") > 5  # the platform's wins
    assert job.summary in texts
    command = next(text for text in texts if isinstance(text, str) and text.startswith("card_risk ingest"))
    assert shlex.split(command) == ["card_risk", "ingest", *spec.arguments, "$ACCELERATORS_ARGUMENTS"]


def closed(schema: Any) -> Any:
    """Return a schema of Kubernetes that refuses unknown keys, which the original lets pass."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    extra = {"additionalProperties": False} if "properties" in schema and "additionalProperties" not in schema else {}
    return {key: closed(value) for key, value in schema.items()} | extra


def test_a_closed_schema_refuses_an_unknown_key() -> None:
    schema = {"properties": {"a": {"properties": {"b": {"type": "string"}}, "type": "object"}}, "type": "object"}

    jsonschema.validate({"a": {"b": "x"}}, closed(schema))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"a": {"c": "x"}}, closed(schema))


def test_the_applications_keep_the_schema_of_the_operator() -> None:
    if CRD not in os.environ:
        pytest.skip(
            f"{CRD} names no file; the operator's chart has it: crds/sparkapplications.spark.apache.org-v1.yaml"
        )
    versions = yaml.safe_load(Path(os.environ[CRD]).read_text())["spec"]["versions"]
    schema = next(each for each in versions if each["name"] == "v1")["schema"]["openAPIV3Schema"]["properties"]["spec"]

    for each in read(ROOT / "churn" / "deploy" / "spark-application.yaml"):
        jsonschema.validate(each["spec"], closed(schema))


def test_the_airflow_example_has_a_dag_for_each_job_and_its_order() -> None:
    module = ast.parse((ROOT / "docs" / "airflow" / "churn_jobs.py").read_text())
    dags = [node for node in module.body if isinstance(node, ast.With)]

    assert len(dags) == len(JOBS.jobs)
    for job, dag in zip(JOBS.jobs, dags, strict=True):
        text = ast.unparse(dag)
        assert f"dag_id='churn_{job.name}'" in text
        assert re.findall(r"task_id='([^']+)'", text) == list(job.verbs)
        assert text.count(">>") == sum(len(task.after) for task in job.tasks)
