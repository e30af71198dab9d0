"""What platforms need to know of a vertical's jobs, rendered from its one `JobSpec`: Databricks, Kubernetes, Airflow.

The rendered files are committed, and a test renders them again; so edit the JobSpec, then `python -m shared manifests`.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import yaml

from shared.core.errors import ConfigError
from shared.deploy.jobs import Job, JobSpec, Task, quartz

PACKAGE: Final = "spark_accelerators"
SPARK_VERSION: Final = "4.2.0"
_CLUSTER: Final = "jobs"
_DATA: Final = "/data"  # where the Kubernetes volume is mounted
_USER: Final = 185  # of Spark's image
# What an earlier build left would be in the wheel, or beside it.
_BUILD: Final = "rm -rf build dist/*.whl && python -m build --wheel --outdir dist"
_LINE: Final = 120
_EXTENSIONS: Final = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


def load(vertical: str) -> JobSpec:
    """Return the jobs that the package ``vertical`` declares as `JOBS` in its module `jobs`.

    Raises:
        ConfigError: there is no such package or module.
    """
    try:
        spec: JobSpec = import_module(f"{vertical}.jobs").JOBS
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError("VERTICAL_UNKNOWN", f"'{vertical}' declares no jobs: {error}.", "A vertical.") from error
    return spec


def rendered(spec: JobSpec) -> dict[str, str]:
    """Return the text of every manifest by its path in the checkout."""
    return {
        f"{spec.vertical}/deploy/databricks.yml": _yaml(spec, bundle(spec)),
        f"{spec.vertical}/deploy/spark-application.yaml": _yaml(spec, *spark_applications(spec)),
        f"docs/airflow/{spec.vertical}_jobs.py": airflow(spec),
    }


def write(spec: JobSpec, root: Path) -> list[str]:
    """Write the manifests below ``root`` and return the paths of those that have changed."""
    changed = differing(spec, root)
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(rendered(spec)[path], encoding="utf-8")
    return changed


def differing(spec: JobSpec, root: Path) -> list[str]:
    """Return the paths below ``root`` that are not as rendered, or not there."""
    return [
        path
        for path, text in rendered(spec).items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def bundle(spec: JobSpec) -> dict[str, Any]:
    """Return the Databricks bundle: one wheel, one job cluster a job, one wheel task a verb, two targets."""
    workspace = {"root_path": "~/.bundle/${bundle.name}/${bundle.target}"}
    return {
        "bundle": {"name": f"accelerators-{spec.vertical}"},
        "variables": {
            "source": {"description": "Folder, file or URI of the raw data"},
            "warehouse": {"description": "Where the tables are", "default": f"catalog:main.{spec.vertical}"},
            "tracking_uri": {
                "description": "Address of the MLflow server, or databricks:scope/key, a secret that holds it"
            },
            "spark_version": {"description": "A Databricks runtime with Spark 4.2: databricks clusters spark-versions"},
            "node_type": {"description": "Machine of driver and workers: databricks clusters list-node-types"},
        },
        # The wheel is built from the whole checkout, two folders up.
        "sync": {"paths": ["../.."], "exclude": ["**/.venv", "**/jars", "**/warehouse", "**/.setup"]},
        "artifacts": {"wheel": {"type": "whl", "path": "../..", "build": _BUILD}},
        "targets": {
            "dev": {"mode": "development", "default": True, "workspace": workspace},
            # A production bundle has one place and one owner: who deploys it.
            "prod": {"mode": "production", "workspace": {"root_path": "/Workspace/Shared/.bundle/${bundle.name}"}},
        },
        "resources": {"jobs": {f"{spec.vertical}_{job.name}": _databricks_job(spec, job) for job in spec.jobs}},
    }


def _databricks_job(spec: JobSpec, job: Job) -> dict[str, Any]:
    cluster: dict[str, Any] = {
        "spark_version": "${var.spark_version}",
        "node_type_id": "${var.node_type}",
        "num_workers": job.size.workers,
        "data_security_mode": "SINGLE_USER",
    }
    if not job.size.workers:
        cluster |= {
            "spark_conf": {"spark.databricks.cluster.profile": "singleNode", "spark.master": "local[*]"},
            "custom_tags": {"ResourceClass": "SingleNode"},
        }
    return {
        "name": f"{spec.vertical} {job.name}",
        "description": job.summary,
        "schedule": {"quartz_cron_expression": quartz(job.cron), "timezone_id": "UTC", "pause_status": "UNPAUSED"},
        "max_concurrent_runs": 1,
        "timeout_seconds": job.timeout_minutes * 60,
        "job_clusters": [{"job_cluster_key": _CLUSTER, "new_cluster": cluster}],
        "tasks": [_databricks_task(spec, task) for task in job.tasks],
    }


def _databricks_task(spec: JobSpec, task: Task) -> dict[str, Any]:
    places = [
        "--source",
        "${var.source}",
        "--warehouse",
        "${var.warehouse}",
        "--set",
        "tracking_uri=${var.tracking_uri}",
    ]
    after = {"depends_on": [{"task_key": verb} for verb in task.after]} if task.after else {}
    return {
        "task_key": task.verb,
        **after,
        "job_cluster_key": _CLUSTER,
        "python_wheel_task": {
            "package_name": PACKAGE,
            "entry_point": spec.vertical,
            "parameters": [task.verb, *spec.arguments, *places],
        },
        "libraries": [{"whl": "../../dist/*.whl"}],
    }


def spark_applications(spec: JobSpec) -> list[dict[str, Any]]:
    """Return a SparkApplication of the Apache operator for every job; it runs the job's verbs in one session.

    Image and volume are those of ``<vertical>/deploy/Dockerfile`` and a claim ``<vertical>-data``. The operator has no
    schedules: the annotation says when something else, such as Airflow or a CronJob, should create the application.
    """
    return [_spark_application(spec, job) for job in spec.jobs]


def _spark_application(spec: JobSpec, job: Job) -> dict[str, Any]:
    vertical = spec.vertical.replace("_", "-")  # names of Kubernetes have no underscores
    name, memory, cores = f"{vertical}-{job.name.replace('_', '-')}", f"{job.size.memory_gib}g", str(job.size.cores)
    volumes = {
        f"spark.kubernetes.{role}.volumes.persistentVolumeClaim.data.{key}": value
        for role in ("driver", "executor")
        for key, value in (("mount.path", _DATA), ("options.claimName", f"{vertical}-data"))
    }
    return {
        "apiVersion": "spark.apache.org/v1",
        "kind": "SparkApplication",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "spark-accelerators"},
            "annotations": {"accelerators/schedule": job.cron, "accelerators/summary": job.summary},
        },
        "spec": {
            "pyFiles": "local:///opt/accelerators/main.py",
            "driverArgs": [
                "job",
                job.name,
                "--source",
                f"{_DATA}/source",
                "--warehouse",
                f"{_DATA}/warehouse",
            ],
            "sparkConf": {
                "spark.kubernetes.container.image": f"accelerators-{vertical}:latest",
                "spark.kubernetes.authenticate.driver.serviceAccountName": "spark",
                "spark.kubernetes.driverEnv.MLFLOW_DFS_TMP": f"{_DATA}/models-on-their-way",
                "spark.driver.cores": cores,
                "spark.driver.memory": memory,
                "spark.executor.instances": str(max(1, job.size.workers)),
                "spark.executor.cores": cores,
                "spark.executor.memory": memory,
                **_EXTENSIONS,
                **volumes,
            },
            # A job is given up in time; its pod may write to the volume, which belongs to root at first.
            "driverSpec": _pod(activeDeadlineSeconds=job.timeout_minutes * 60),
            "executorSpec": _pod(),
            "applicationTolerations": {
                "resourceRetainPolicy": "OnFailure",
                "restartConfig": {"restartPolicy": "Never"},
            },
            "runtimeVersions": {"scalaVersion": "2.13", "sparkVersion": SPARK_VERSION},
        },
    }


def _pod(**more: Any) -> dict[str, Any]:
    return {"podTemplateSpec": {"spec": {"securityContext": {"fsGroup": _USER}, **more}}}


def airflow(spec: JobSpec) -> str:
    """Return Airflow DAGs, one a job and a task a verb, as Python text: an example to copy, nothing here imports it."""
    return "\n".join(
        [
            f'"""Airflow 3: the jobs of {spec.vertical}, on workers that have the wheel.',
            "",
            f"Rendered by `python -m shared manifests {spec.vertical}`. ACCELERATORS_ARGUMENTS says where source, tables and models are, e.g.",
            "`--source hdfs:///data --warehouse hdfs:///warehouse --set tracking_uri=http://mlflow:5000`.",
            '"""',
            "",
            "from datetime import UTC, datetime, timedelta",
            "",
            "from airflow.providers.standard.operators.bash import BashOperator",
            "from airflow.sdk import DAG",
            "",
            "START = datetime(2026, 1, 1, tzinfo=UTC)",
            *(line for job in spec.jobs for line in _dag(spec, job)),
            "",
        ]
    )


def _dag(spec: JobSpec, job: Job) -> list[str]:
    handles = {task.verb: task.verb.replace("-", "_") for task in job.tasks}
    lines = [
        "",
        "with DAG(",
        f"    dag_id={_quoted(f'{spec.vertical}_{job.name}')},",
        f"    description={_quoted(job.summary)},",
        f"    schedule={_quoted(job.cron)},",
        "    start_date=START,",
        "    catchup=False,",
        "    max_active_runs=1,",
        f"    dagrun_timeout=timedelta(minutes={job.timeout_minutes}),",
        "):",
    ]
    for task in job.tasks:
        words = f"{shlex.join([spec.vertical, task.verb, *spec.arguments])} $ACCELERATORS_ARGUMENTS"
        given = f"task_id={_quoted(task.verb)}, bash_command={_quoted(words)}"
        line = f"    {handles[task.verb]} = BashOperator({given})"
        is_long = len(line) > _LINE
        lines += [f"    {handles[task.verb]} = BashOperator(", f"        {given}", "    )"] if is_long else [line]
    for task in job.tasks:
        lines += [f"    {handles[verb]} >> {handles[task.verb]}" for verb in task.after]
    return lines


def _quoted(text: str) -> str:
    """Return a text as Python writes it, between double quotes as the formatter wants; JSON's escapes are Python's."""
    return json.dumps(text, ensure_ascii=False)


def _yaml(spec: JobSpec, *documents: Mapping[str, Any]) -> str:
    head = f"# Rendered from {spec.vertical}/jobs.py by `python -m shared manifests {spec.vertical}`: edit that, not this.\n"
    return head + yaml.dump_all(_plain(documents), sort_keys=False, width=_LINE, explicit_start=len(documents) > 1)


def _plain(value: Any) -> Any:
    """Return ``value`` as lists and dicts of its own, so that yaml writes no anchors."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
