import pytest

from shared.core.errors import ConfigError
from shared.deploy.jobs import Job, JobSpec, Size, Task, check_cron, quartz


def job(*tasks: Task, name: str = "score", cron: str = "0 4 * * *") -> Job:
    return Job(name, "Score.", cron, tasks, Size(workers=1), timeout_minutes=10)


def test_a_job_says_its_verbs_in_order() -> None:
    spec = JobSpec("example", (job(Task("ingest"), Task("features", after=("ingest",))),))

    assert spec.verbs == {"score": ("ingest", "features")}


@pytest.mark.parametrize(
    "tasks",
    [
        (Task("features", after=("ingest",)),),
        (Task("features", after=("ingest",)), Task("ingest")),
        (Task("ingest", after=("ingest",)),),
        (Task("ingest"), Task("ingest")),
    ],
)
def test_a_task_runs_once_and_after_tasks_before_it(tasks: tuple[Task, ...]) -> None:
    with pytest.raises(ConfigError, match="JOB_INVALID"):
        job(*tasks)


def test_two_jobs_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="JOB_INVALID"):
        JobSpec("example", (job(Task("ingest")), job(Task("train"))))


@pytest.mark.parametrize("cron", ["0 4 * * *", "*/15 0-6 1,15 * *", "59 23 31 12 *", "0 0 * * 0,6", "5-55/10 * * * *"])
def test_a_cron_line_of_five_fields_is_taken(cron: str) -> None:
    check_cron(cron)


NO_CRON = (
    *("", "0 4 * *", "0 0 4 * * ?", "60 4 * * *", "0 24 * * *", "0 4 0 * *", "0 4 * 13 *", "0 4 * * 7", "0 4 * * MON"),
    *("0 4 1 * 1", "5-1 4 * * *", "*/0 4 * * *", "0 4 ? * *", "-1 4 * * *", "0,,1 4 * * *", "0 4 * * *\n0"),
)


@pytest.mark.parametrize("cron", NO_CRON)
def test_what_is_no_such_line_is_refused(cron: str) -> None:
    with pytest.raises(ConfigError, match="CRON_INVALID"):
        check_cron(cron)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("*/15 * * * *", "0 */15 * * * ?"),
        ("0 6 * * 0,6", "0 0 6 ? * SUN,SAT"),
        ("0 6 * * 1-5/2", "0 0 6 ? * MON-FRI/2"),
        ("0 6 * * */2", "0 0 6 ? * */2"),
    ],
)
def test_quartz_has_seconds_and_names_of_days(cron: str, expected: str) -> None:
    assert quartz(cron) == expected
