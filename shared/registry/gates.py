"""Whether a challenger may become the champion: gates that each pass or fail with their figures.

Plain functions of figures; nothing is read here. They fail closed: what is missing, empty or not a number has failed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from pydantic import Field

from shared.core.config import Settings

PARITY_ROWS: Final = 1_000
"""On so many rows an export is to be compared with Spark, edge cases not among them."""
PARITY_TOLERANCE: Final = 1e-5
"""The largest difference of a probability that may be accepted."""


class GateConfig(Settings):
    """What a challenger has to show.

    Args:
        metric: what the gain over the champion is measured in, on the same rows; ``log_loss`` judges probabilities,
            ``auc`` their order alone.
        min_gain: the gain has to be more than this; 0 asks only that it is no chance.
        min_rows: fewer test rows judge nobody; so many have to be compared with the champion, too.
        min_positives: nor do rows with fewer of either label.
        confidence: share of bootstrap replicates that have to show so much gain.
        max_slice_loss: by how much the mean log loss of a slice may be worse than the champion's, in nats a row.
        min_slice_rows: smaller slices of a column are judged together, when together they have so many rows, or
            are all that the column has.
        max_ece_excess: by how much the calibration error may exceed what chance alone gives right probabilities, beyond twice
            the standard error of the rate of so many test rows: a calibration is itself learned from about as many.
        online_parity: whether the exported model has to give the same probabilities as Spark, within 1e-5, on at least
            1,000 rows beside the edge cases.
        without_champion: whether to judge by the other gates alone when the champion that the ledger names is gone; else
            the challenger is refused. The first model of all needs no leave.
    """

    metric: Literal["log_loss", "auc"] = "log_loss"
    min_gain: float = Field(0.0, ge=0.0)
    min_rows: int = Field(100, ge=1)
    min_positives: int = Field(20, ge=1)
    confidence: float = Field(0.95, gt=0.5, lt=1.0)
    max_slice_loss: float = Field(0.05, ge=0.0)
    min_slice_rows: int = Field(100, ge=1)
    max_ece_excess: float = Field(0.03, ge=0.0)
    online_parity: bool = True
    without_champion: bool = False


@dataclass(frozen=True)
class Comparison:
    """Challenger against champion on the same rows.

    Args:
        metric: as in the settings; a gain is positive when the challenger is better.
        gain, low, high: the gain, and the bounds that a share ``confidence`` of the replicates lies above and below.
        rows: number of rows both scored.
        slices: per slice column its slices: ``slice``, ``rows`` and ``loss``, the challenger's mean log loss minus the
            champion's.
        left_out: rows the champion was trained on, which are not compared.
        positives: of the rows; None where they were not counted.
    """

    metric: str
    gain: float
    low: float
    high: float
    rows: int
    slices: Mapping[str, Sequence[Mapping[str, Any]]]
    left_out: int = 0
    positives: int | None = None


@dataclass(frozen=True)
class Gate:
    """One gate: its name, whether it was passed, what was found in words, and the figures."""

    name: str
    passed: bool
    found: str
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """All gates, and the version of the table they were judged on; None when no evaluation says which."""

    gates: tuple[Gate, ...]
    table_version: int | None = None

    @property
    def passed(self) -> bool:
        """Whether there are gates and every one was passed."""
        return bool(self.gates) and all(gate.passed for gate in self.gates)

    @property
    def reason(self) -> str:
        """What the failed gates found, or what the passed ones did."""
        failed = [gate for gate in self.gates if not gate.passed]
        return "; ".join(f"{gate.name}: {gate.found}" for gate in failed or self.gates)

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values, for the ledger."""
        return {"passed": self.passed, "table_version": self.table_version, "gates": [asdict(g) for g in self.gates]}


def verdict(
    config: GateConfig,
    evaluation: Mapping[str, Any],
    *,
    newest_version: int,
    slices: Sequence[str],
    has_champion: bool,
    comparison: Comparison | None = None,
    incomparable: str = "",
) -> Verdict:
    """Judge a challenger.

    Args:
        config: the bounds.
        evaluation: the challenger's evaluation: ``features_version``, ``test`` and ``baseline`` metrics, ``slices``, and
            ``parity`` (``rows``, ``edge_rows``, ``largest_difference``, ``tolerance``) where the exported model was
            compared; empty when there is none.
        newest_version: version of the table that evaluations are made on.
        slices: names of the slices that have to be there.
        has_champion: False for the first model, which only has to beat the baseline.
        comparison: with the champion.
        incomparable: why there is none.
    """
    version = _number(evaluation, "features_version")
    gates = [
        _complete(config, evaluation, slices),
        _newest(version, newest_version),
        _baseline(evaluation),
        _calibration(config, evaluation),
    ]
    if has_champion:
        gates += [_gain(config, comparison, incomparable), _slices(config, comparison, slices)]
    if config.online_parity:
        gates.append(_parity(evaluation))
    return Verdict(tuple(gates), None if version is None else int(version))


_NEEDED: Final = (
    *(("test", name) for name in ("rows", "positives", "auc", "log_loss", "brier", "ece", "ece_by_chance")),
    *(("baseline", name) for name in ("auc", "log_loss")),
)


def _complete(config: GateConfig, evaluation: Mapping[str, Any], slices: Sequence[str]) -> Gate:
    """Refuse an evaluation of few rows, that lacks a figure, has one that is no number, or a slice that nobody looked at."""
    if not evaluation:
        return Gate("evaluation", False, "there is none", {})
    problems = [
        f"{'.'.join(path)} is {_get(evaluation, *path)!r}" for path in _NEEDED if _number(evaluation, *path) is None
    ]
    counts = {name: _number(evaluation, "test", name) or 0 for name in ("rows", "positives")}
    if too_few := _too_few(config, counts["rows"], counts["positives"]):
        problems.append(f"{counts['rows']:.0f} test rows with {counts['positives']:.0f} positives, {too_few}")
    for name in slices:
        found = _get(evaluation, "slices", name)
        if not isinstance(found, list) or not found:
            problems.append(f"slice {name} is missing")
        elif any(_number(each, key) is None for each in found for key in ("rows", "observed", "predicted")):
            problems.append(f"slice {name} holds what is no number")
    return Gate("evaluation", not problems, "; ".join(problems) or f"{counts['rows']:.0f} test rows", counts)


def _too_few(config: GateConfig, rows: float, positives: float | None) -> str:
    """Return what is needed, where rows or one of the labels are fewer; empty where they are enough."""
    is_enough = rows >= config.min_rows
    if positives is not None:
        is_enough = is_enough and config.min_positives <= positives <= rows - config.min_positives
    return "" if is_enough else f"at least {config.min_rows} with {config.min_positives} of each label are needed"


def _newest(version: float | None, newest: int) -> Gate:
    found = f"made on version {_shown(version)} of the table, the newest is {newest}"
    return Gate("newest_table", version == newest, found, {"version": version, "newest": newest})


def _baseline(evaluation: Mapping[str, Any]) -> Gate:
    """Ask that the AUC's interval lies above the baseline's, and the log loss below."""
    bounds = _get(evaluation, "test", "auc_ci")
    low = _finite(bounds[0]) if isinstance(bounds, Sequence) and bounds else None
    loss = _number(evaluation, "test", "log_loss")
    auc_of_baseline, loss_of_baseline = (_number(evaluation, "baseline", name) for name in ("auc", "log_loss"))
    ranks = low is not None and auc_of_baseline is not None and low > auc_of_baseline
    fits = loss is not None and loss_of_baseline is not None and loss < loss_of_baseline
    found = (
        f"AUC from {_shown(low)} against {_shown(auc_of_baseline)}, "
        f"log loss {_shown(loss)} against {_shown(loss_of_baseline)} of always saying the rate"
    )
    figures = {"auc_low": low, "auc_baseline": auc_of_baseline, "log_loss": loss, "log_loss_baseline": loss_of_baseline}
    return Gate("baseline", ranks and fits, found, figures)


def _calibration(config: GateConfig, evaluation: Mapping[str, Any]) -> Gate:
    ece, by_chance, rows, positives = (
        _number(evaluation, "test", name) for name in ("ece", "ece_by_chance", "rows", "positives")
    )
    allowed = excess = None
    if ece is not None and by_chance is not None and rows and positives is not None:
        rate = min(max(positives / rows, 0.0), 1.0)
        allowed = config.max_ece_excess + 2 * math.sqrt(rate * (1 - rate) / rows)
        excess = ece - by_chance
    found = f"calibration error {_shown(ece)}, {_shown(by_chance)} by chance, at most {_shown(allowed)} more"
    figures = {"ece": ece, "by_chance": by_chance, "allowed": allowed}
    return Gate("calibration", excess is not None and allowed is not None and excess <= allowed, found, figures)


def _gain(config: GateConfig, comparison: Comparison | None, incomparable: str) -> Gate:
    if comparison is None:
        return Gate("gain", False, incomparable or "the champion was not compared", {})
    figures = {
        name: _finite(getattr(comparison, name)) for name in ("gain", "low", "high", "rows", "positives", "left_out")
    }
    low, rows = figures["low"], figures["rows"]
    passed = low is not None and figures["gain"] is not None and low > config.min_gain
    too_few = _too_few(config, rows or 0, comparison.positives)
    found = (
        f"{comparison.metric} better by {_shown(figures['gain'])}, with {config.confidence:.0%} confidence by more than "
        f"{_shown(low)}, on {_shown(rows)} rows; more than {config.min_gain} is needed"
    )
    if too_few:
        found += f"; {_shown(figures['positives'])} positives, {too_few}"
    passed = passed and not too_few and comparison.metric == config.metric
    return Gate("gain", passed, found, {"metric": comparison.metric, **figures, "needed": config.min_gain})


def _slices(config: GateConfig, comparison: Comparison | None, slices: Sequence[str]) -> Gate:
    if comparison is None:
        return Gate("slices", False, "the champion was not compared", {})
    problems: list[str] = [f"{name} was not compared" for name in slices if not comparison.slices.get(name)]
    judged: list[tuple[float, str]] = []
    for name in slices:
        large, wrong = _large_enough(config, name, comparison.slices.get(name, ()))
        judged += large
        problems += wrong
    worse = [f"{what} by {_shown(loss)}" for loss, what in sorted(judged, reverse=True) if loss > config.max_slice_loss]
    if worse:
        problems.append(f"log loss worse in {', '.join(worse[:5])}; at most {config.max_slice_loss} is allowed")
    worst, where = max(judged, default=(None, "none"))
    found = "; ".join(problems) or f"{len(judged)} judged, the worst is {where}: {_shown(worst)}"
    return Gate("slices", not problems, found, {"judged": len(judged), "worst": worst, "where": where})


def _large_enough(
    config: GateConfig, name: str, slices: Sequence[Mapping[str, Any]]
) -> tuple[list[tuple[float, str]], list[str]]:
    """Return loss and name of the slices of a column that have rows enough, the small ones as one, and what is wrong."""
    large: list[tuple[float, str]] = []
    small: list[tuple[float, float]] = []
    problems: list[str] = []
    for each in slices:
        rows, loss = _number(each, "rows"), _number(each, "loss")
        if rows is None or loss is None:
            problems.append(f"{name} {each.get('slice')} has no figures")
        elif rows >= config.min_slice_rows:
            large.append((loss, f"{name} {each['slice']}"))
        else:
            small.append((rows, loss))
    together = sum(rows for rows, _ in small)
    if together >= config.min_slice_rows or (together and not large):
        mean = sum(rows * loss for rows, loss in small) / together
        large.append((mean, f"the {len(small)} small ones of {name}"))
    return large, problems


def _parity(evaluation: Mapping[str, Any]) -> Gate:
    rows, edges, largest, tolerance = (
        _number(evaluation, "parity", name) for name in ("rows", "edge_rows", "largest_difference", "tolerance")
    )
    compared = None if rows is None or edges is None else rows - edges
    allowed = None if tolerance is None else min(tolerance, PARITY_TOLERANCE)
    is_near = largest is not None and allowed is not None and largest <= allowed
    found = (
        f"the exported model differs by up to {_shown(largest)}, {_shown(allowed)} is allowed, "
        f"on {_shown(compared)} rows beside edge cases, at least {PARITY_ROWS} are needed"
    )
    figures = {"rows": rows, "edge_rows": edges, "largest_difference": largest, "tolerance": tolerance}
    return Gate("online_parity", is_near and compared is not None and compared >= PARITY_ROWS, found, figures)


def _get(document: Mapping[str, Any], *path: str) -> Any:
    value: Any = document
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _number(document: Mapping[str, Any], *path: str) -> float | None:
    return _finite(_get(document, *path))


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None


def _shown(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
