"""The churn vertical's table of contents: its steps in order. Each is callable alone and reads what the ones before wrote."""

from churn import serve
from churn.adapt import adapt
from churn.config import ChurnConfig, layers
from churn.evaluate import evaluate
from churn.experiment import ab_report
from churn.features import features, kept_features
from churn.ingest import ingest, kept_ingestion
from churn.jobs import JOBS
from churn.monitor import monitor
from churn.promote import promote, promote_or_keep, promotions, rollback
from churn.report import report
from churn.reproduce import reproduce
from churn.retrain import retrain
from churn.sample import sample
from churn.score_batch import score_batch
from churn.score_stream import score_stream
from churn.train import train
from shared.cli.app import Vertical

STEPS = {
    "sample": sample,
    "ingest": ingest,
    "features": features,
    "train": train,
    "evaluate": evaluate,
    "promote": promote,
    "score-batch": score_batch,
    "report": report,
}

# What `run` leaves as it is when nothing that it was made from has changed; the verbs alone always do it.
KEPT = {"ingest": kept_ingestion, "features": kept_features}

VERTICAL = Vertical(
    name="churn",
    summary="Which customers are about to leave, why, and whom is it worth to contact?",
    config=ChurnConfig,
    layers=layers,
    steps=STEPS,
    kept=KEPT,
    others={
        "score-stream": score_stream,
        "monitor": monitor,
        "retrain": retrain,
        "rollback": rollback,
        "ledger": promotions,
        "reproduce": reproduce,
        "ab-report": ab_report,
    },
    in_run={"promote": promote_or_keep},
    arguments={"reproduce": "run_id"},
    jobs=JOBS,
    commands=[serve.COMMAND, adapt],
    shortcuts={
        "score-batch": {"--split": "ab.split", "--experiment": "ab.experiment"},
        "ab-report": {"--experiment": "ab.experiment", "--size": "ab.effect"},
    },
)
