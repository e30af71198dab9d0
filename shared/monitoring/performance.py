"""Performance of a model in each window, as far as labels have matured, with the labelled share beside every figure."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from statistics import NormalDist
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from shared.core.parallel import in_parallel
from shared.evaluation import binary
from shared.evaluation.scored import scored
from shared.monitoring.settings import MonitoringConfig
from shared.monitoring.statistics import auc_error

_LEAST_OF_A_CLASS = 20
_MOST_WINDOWS = 1_000


@dataclass(frozen=True)
class Performance:
    """What is known of a model in one window; None until there is a label, `reason` says why.

    Args:
        window: the window.
        rows: rows scored; ``labelled`` of them have a label by now.
        positives: labelled rows with label 1.
        auc: needs twenty rows of each class.
        brier, ece: as in `shared.evaluation.binary`, ten bins of equal width.
        observed, predicted: mean label and mean probability of the labelled rows.
        chance: standard error of ``observed`` if every probability were right.
        reason: why something is None.
    """

    window: str
    rows: int
    labelled: int
    positives: int = 0
    auc: float | None = None
    brier: float | None = None
    ece: float | None = None
    observed: float | None = None
    predicted: float | None = None
    chance: float | None = None
    reason: str = ""

    @property
    def labelled_share(self) -> float:
        """Share of the rows whose label is known."""
        return self.labelled / self.rows if self.rows else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def by_window(predictions: DataFrame, *, window: str, label: str, probability: str) -> list[Performance]:
    """Return the performance of every window, ascending; predictions are read three times, so cache them.

    Args:
        predictions: scored rows; the label is 0, 1 or null.
        window: column of the window.
        label: column of the label.
        probability: column with the probability of label 1.

    Raises:
        DataError: a label is neither null, 0 nor 1.
        ModelError: a probability is null, NaN or outside [0, 1].
    """
    labelled = predictions.where(F.col(label).isNotNull())
    name = F.col(window).cast("string").alias("window")
    p, y = F.col("p"), F.col("y")
    judged = scored(labelled, label, probability, window=F.col(window).cast("string")).groupBy("window", "bin")
    sums = judged.agg(
        F.count("*").alias("n"),
        F.sum("y").alias("positives"),
        F.sum("p").alias("expected"),
        F.sum("squared_error").alias("squared_error"),
        F.sum(p * (1 - p)).alias("variance"),
        F.sum(y - p).alias("gap"),
    )
    work: list[Callable[[], Any]] = [
        predictions.groupBy(name).agg(F.count("*").alias("rows"), F.count(label).alias("labelled")).collect,
        sums.collect,
        partial(_ranked, labelled, window, label, probability),
    ]
    counted, of_bins, ranked = in_parallel(predictions.sparkSession, work)
    bins: dict[str, list[Row]] = {}
    for row in of_bins:
        bins.setdefault(row["window"], []).append(row)
    rows = sorted(counted, key=lambda row: row["window"])
    return [_performance(row, bins.get(row["window"], []), ranked.get(row["window"])) for row in rows]


def _ranked(labelled: DataFrame, window: str, label: str, probability: str) -> dict[str, float | None]:
    if labelled.isEmpty():
        return {}
    slices = binary.by_slice(labelled, window, label=label, probability=probability, limit=_MOST_WINDOWS)
    return {str(part["slice"]): part["auc"] for part in slices}  # type: ignore[misc]


def _performance(counted: Row, bins: list[Row], auc: float | None) -> Performance:
    known = Performance(counted["window"], counted["rows"], counted["labelled"], reason="no label has matured yet")
    n = sum(row["n"] for row in bins)
    if not n:
        return known
    positives = int(sum(row["positives"] for row in bins))
    is_ranked = min(positives, n - positives) >= _LEAST_OF_A_CLASS
    reason = "" if is_ranked else f"{positives} positives of {n}: AUC needs {_LEAST_OF_A_CLASS} of each class"
    return Performance(
        known.window,
        known.rows,
        known.labelled,
        positives,
        auc if is_ranked else None,
        sum(row["squared_error"] for row in bins) / n,
        sum(abs(row["gap"]) for row in bins) / n,
        positives / n,
        sum(row["expected"] for row in bins) / n,
        sum(row["variance"] for row in bins) ** 0.5 / n,
        reason,
    )


def loss(found: Performance, test: dict[str, Any], settings: MonitoringConfig) -> str:
    """Return in words what a window lost against the evaluation of the model; empty for nothing.

    Args:
        found: performance of the window.
        test: ``auc, rows, positives`` of the test rows of the evaluation.
        settings: least losses that matter; both must also be beyond chance at ``alpha``.
    """
    beyond = NormalDist().inv_cdf(1 - settings.alpha)
    words = []
    if found.auc is not None:
        lost = test["auc"] - found.auc
        errors = [
            auc_error(test["auc"], int(test["positives"]), int(test["rows"] - test["positives"])),
            auc_error(found.auc, found.positives, found.labelled - found.positives),
        ]
        if lost >= settings.min_auc_loss and lost > beyond * (errors[0] ** 2 + errors[1] ** 2) ** 0.5:
            words.append(f"AUC {found.auc:.3f} where the test rows had {test['auc']:.3f}")
    if found.observed is not None and found.predicted is not None and found.chance is not None:
        off = abs(found.observed - found.predicted)
        if off >= settings.min_rate_error and off > beyond * found.chance:
            words.append(f"{found.predicted:.1%} predicted and {found.observed:.1%} seen")
    return " and ".join(words) + (f" (labels of {found.labelled_share:.0%})" if words else "")
