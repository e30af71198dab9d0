"""The vertical's table of contents: its steps in order. Each is callable alone and reads what the ones before wrote."""

from shared.cli.app import Vertical
from shared.cli.template.config import TemplateConfig, layers
from shared.cli.template.evaluate import evaluate
from shared.cli.template.features import features
from shared.cli.template.ingest import ingest
from shared.cli.template.jobs import JOBS
from shared.cli.template.promote import promote, promote_or_keep
from shared.cli.template.report import report
from shared.cli.template.sample import sample
from shared.cli.template.score_batch import score_batch
from shared.cli.template.train import train

VERTICAL = Vertical(
    name="template",
    summary="For which rows will it happen, and which of them are worth acting on?",
    config=TemplateConfig,
    layers=layers,
    steps={
        "sample": sample,
        "ingest": ingest,
        "features": features,
        "train": train,
        "evaluate": evaluate,
        "promote": promote,
        "score-batch": score_batch,
        "report": report,
    },
    others={},
    in_run={"promote": promote_or_keep},
    jobs=JOBS,
)
