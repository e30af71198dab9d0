"""The jobs of the vertical, all times UTC; `python -m shared manifests template` renders what platforms need to know of them."""

from shared.deploy.jobs import Job, JobSpec, Size, Task

_DATA = (Task("ingest"), Task("features", after=("ingest",)))

JOBS = JobSpec(
    vertical="template",
    jobs=(
        Job(
            name="train",
            summary="Train and promote a model on the first day of each month",
            cron="0 0 1 * *",
            tasks=(
                *_DATA,
                Task("train", after=("features",)),
                Task("evaluate", after=("train",)),
                Task("report", after=("evaluate",)),  # before the gates: a model that they refuse has one, too
                Task("promote", after=("report",)),
            ),
            size=Size(workers=2),
            timeout_minutes=230,
        ),
        Job(
            name="score",
            summary="Score with the champion every morning",
            cron="0 4 * * *",
            tasks=(*_DATA, Task("score-batch", after=("features",))),
            size=Size(workers=2),
            timeout_minutes=110,
        ),
    ),
)
