"""Airflow 3: the jobs of churn, on workers that have the wheel.

Rendered by `python -m shared manifests churn`. ACCELERATORS_ARGUMENTS says where source, tables and models are, e.g.
`--source hdfs:///data --warehouse hdfs:///warehouse --set tracking_uri=http://mlflow:5000`.
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

START = datetime(2026, 1, 1, tzinfo=UTC)

with DAG(
    dag_id="churn_train",
    description="Train, compare and promote a model on the first day of each month",
    schedule="0 0 1 * *",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=230),
):
    ingest = BashOperator(
        task_id="ingest", bash_command="churn ingest --set stream.keeps_tables=true $ACCELERATORS_ARGUMENTS"
    )
    features = BashOperator(
        task_id="features", bash_command="churn features --set stream.keeps_tables=true $ACCELERATORS_ARGUMENTS"
    )
    train = BashOperator(
        task_id="train", bash_command="churn train --set stream.keeps_tables=true $ACCELERATORS_ARGUMENTS"
    )
    evaluate = BashOperator(
        task_id="evaluate", bash_command="churn evaluate --set stream.keeps_tables=true $ACCELERATORS_ARGUMENTS"
    )
    report = BashOperator(
        task_id="report", bash_command="churn report --set stream.keeps_tables=true $ACCELERATORS_ARGUMENTS"
    )
    promote = BashOperator(
        task_id="promote", bash_command="churn promote --set stream.keeps_tables=true $ACCELERATORS_ARGUMENTS"
    )
    ingest >> features
    features >> train
    train >> evaluate
    evaluate >> report
    report >> promote

with DAG(
    dag_id="churn_score",
    description="Score today's customers with the champion every morning",
    schedule="0 4 * * *",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=110),
):
    ingest = BashOperator(
        task_id="ingest", bash_command="churn ingest --set stream.keeps_tables=true $ACCELERATORS_ARGUMENTS"
    )
    features = BashOperator(
        task_id="features", bash_command="churn features --set stream.keeps_tables=true $ACCELERATORS_ARGUMENTS"
    )
    score_batch = BashOperator(
        task_id="score-batch", bash_command="churn score-batch --set stream.keeps_tables=true $ACCELERATORS_ARGUMENTS"
    )
    ingest >> features
    features >> score_batch

with DAG(
    dag_id="churn_monitor",
    description="Profile and drift of inputs and predictions, performance of the champion, with alerts",
    schedule="0 6 * * *",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=50),
):
    monitor = BashOperator(
        task_id="monitor", bash_command="churn monitor --set stream.keeps_tables=true $ACCELERATORS_ARGUMENTS"
    )

with DAG(
    dag_id="churn_retrain",
    description="Decide from what monitoring found whether a new model is needed, and train it if so",
    schedule="0 7 * * 0",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=230),
):
    retrain = BashOperator(
        task_id="retrain", bash_command="churn retrain --set stream.keeps_tables=true $ACCELERATORS_ARGUMENTS"
    )
