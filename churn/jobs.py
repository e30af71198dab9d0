"""The jobs of the churn vertical; every manifest in `churn/deploy` and `docs/airflow` is rendered from here.

All times are UTC. The jobs write the same tables, so each has ended, or is given up, before the next one starts.
"""

from shared.deploy.jobs import Job, JobSpec, Size, Task

_DATA = (Task("ingest"), Task("features", after=("ingest",)))

JOBS = JobSpec(
    vertical="churn",
    arguments=("--set", "stream.keeps_tables=true"),  # beside a stream there is nothing to ingest
    jobs=(
        Job(
            name="train",
            summary="Train, compare and promote a model on the first day of each month",
            cron="0 0 1 * *",
            tasks=(
                *_DATA,
                Task("train", after=("features",)),
                Task("evaluate", after=("train",)),
                Task("report", after=("evaluate",)),  # before the gates: a model that they refuse has one, too
                Task("promote", after=("report",)),
            ),
            size=Size(workers=4, memory_gib=16),
            timeout_minutes=230,
        ),
        Job(
            name="score",
            summary="Score today's customers with the champion every morning",
            cron="0 4 * * *",
            tasks=(*_DATA, Task("score-batch", after=("features",))),
            size=Size(workers=2),
            timeout_minutes=110,
        ),
        Job(
            name="monitor",
            summary="Profile and drift of inputs and predictions, performance of the champion, with alerts",
            cron="0 6 * * *",
            tasks=(Task("monitor"),),
            size=Size(workers=0),
            timeout_minutes=50,
        ),
        Job(
            name="retrain",
            summary="Decide from what monitoring found whether a new model is needed, and train it if so",
            cron="0 7 * * 0",
            tasks=(Task("retrain"),),
            size=Size(workers=4, memory_gib=16),
            timeout_minutes=230,
        ),
    ),
)
