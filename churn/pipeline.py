"""The churn vertical's table of contents: its steps in order. Each is callable alone and reads what the ones before wrote."""

from churn.config import ChurnConfig, layers
from churn.evaluate import evaluate, promote
from churn.features import features
from churn.ingest import ingest
from churn.report import report
from churn.sample import sample
from churn.score_batch import score_batch
from churn.train import reproduce, train
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

VERTICAL = Vertical(
    name="churn",
    summary="Which customers are about to leave, why, and whom is it worth to contact?",
    config=ChurnConfig,
    layers=layers,
    steps=STEPS,
    others={"reproduce": reproduce},
)
