"""Every setting of the vertical, with its default and unit; `conf/base.yaml` lies between these and your own file."""

from collections.abc import Sequence
from importlib.resources import files

from pydantic import Field

from shared.core.config import Settings
from shared.core.run import RunConfig
from shared.registry.gates import GateConfig


class SampleConfig(Settings):
    """The embedded data.

    Args:
        rows: how many.
        difficulty: 1 is realistic; larger hides the signal.
    """

    rows: int = Field(4_000, ge=200)
    difficulty: float = Field(1.0, gt=0.0)


class CostConfig(Settings):
    """The money of one row, in your currency.

    Args:
        contact: cost of acting on it.
        value_saved: value of a row on which acting worked.
        success_rate: share of the acted-on rows for which it works.
    """

    contact: float = Field(10.0, gt=0.0)
    value_saved: float = Field(100.0, gt=0.0)
    success_rate: float = Field(0.5, gt=0.0, le=1.0)


class TemplateConfig(RunConfig):
    """Settings of the vertical.

    Args:
        penalty: L2 weight of the logistic regression.
        gates: what a challenger has to show; there is no online export yet whose parity could be asked for.
        bootstrap_replicates: for the intervals of the test metrics.
        max_failed_share: share of rows that may go to quarantine before the run stops.
        max_single_auc: a single feature that ranks the label better than this is taken for the label itself.
    """

    sample: SampleConfig = SampleConfig()
    penalty: float = Field(0.002, ge=0.0)
    costs: CostConfig = CostConfig()
    gates: GateConfig = GateConfig(online_parity=False)
    bootstrap_replicates: int = Field(100, ge=20)
    max_failed_share: float = Field(0.05, ge=0.0, lt=1.0)
    max_single_auc: float = Field(0.995, gt=0.5, le=1.0)


def layers(source: str | None) -> Sequence[str]:
    """Return the yaml texts below the user's own, for the embedded data or a ``source`` of one's own."""
    return ((files("shared.cli.template") / "conf" / "base.yaml").read_text(encoding="utf-8"),)
