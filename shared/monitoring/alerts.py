"""When a violation becomes an alert: N of the last M windows, the newest among them, and then quiet for a while.

Everything follows from the violations, so asking again gives the same alerts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from shared.monitoring.drift import Drift
from shared.monitoring.settings import MonitoringConfig

Kind = Literal["data", "inputs", "predictions", "performance"]
KINDS: tuple[Kind, ...] = ("data", "inputs", "predictions", "performance")


@dataclass(frozen=True)
class Violation:
    """Something out of bounds in one window."""

    window: str
    kind: Kind
    subject: str
    reason: str


@dataclass(frozen=True)
class Alert:
    """A subject that violates for long enough.

    Args:
        window: the newest window, in which it fired.
        kind: ``data`` for broken data (values missing or new, rows put aside), ``inputs``, ``predictions`` or
            ``performance``.
        subject: the column, metric or table.
        reason: what was found in the newest window, and in how many.
    """

    window: str
    kind: Kind
    subject: str
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Condition:
    """How a model stands in the newest windows; what retraining goes by. The reasons are those of the alerts.

    Args:
        window: the newest window; None when none is watched yet.
        data_broken: values are missing or new, or ingestion puts more rows aside: mend the data, do not train on it.
        inputs_drifted, predictions_drifted: the population changed.
        performance_lost: labels that have matured show that the model got worse.
        reasons: one sentence each, by kind.
    """

    window: str | None
    data_broken: bool
    inputs_drifted: bool
    predictions_drifted: bool
    performance_lost: bool
    reasons: Mapping[str, Sequence[str]]


def violations(drifts: Sequence[Drift], prediction: str) -> list[Violation]:
    """Return the violations among drifts of whole windows.

    Args:
        drifts: from `shared.monitoring.drift.judged_against`.
        prediction: the column with the model's probability.
    """
    kinds: dict[str, Kind] = {"nulls": "data", "unseen": "data", "distribution": "inputs"}
    return [
        Violation(
            drift.window,
            "predictions" if drift.column == prediction else kinds[drift.violation],
            drift.column,
            drift.reason,
        )
        for drift in drifts
        if drift.violation
    ]


def raised(
    found: Sequence[Violation], windows: Mapping[Kind, Sequence[str]], settings: MonitoringConfig
) -> list[Alert]:
    """Return every alert, in the order in which they fired.

    Broken data fires at once, whatever N is: it does not get better by waiting.

    Args:
        found: all violations.
        windows: per kind the windows that are watched, ascending; of performance those with labels.
        settings: N, M and the cool-down.
    """
    alerts: list[Alert] = []
    for kind, subject in sorted({(each.kind, each.subject) for each in found}):
        reasons = {each.window: each.reason for each in found if (each.kind, each.subject) == (kind, subject)}
        quiet_until = -1
        for place, window in enumerate(windows[kind]):
            reason = _standing(reasons, windows[kind][: place + 1], kind, settings)
            if reason and place > quiet_until:
                alerts.append(Alert(window, kind, subject, reason))
                quiet_until = place + settings.cooldown_windows
    return sorted(alerts, key=lambda alert: (alert.window, KINDS.index(alert.kind), alert.subject))


def condition(
    found: Sequence[Violation], windows: Mapping[Kind, Sequence[str]], settings: MonitoringConfig
) -> Condition:
    """Return what holds in the newest windows; arguments as of `raised`, the cool-down plays no part."""
    reasons: dict[str, list[str]] = {}
    for kind, subject in sorted({(each.kind, each.subject) for each in found}):
        own = {each.window: each.reason for each in found if (each.kind, each.subject) == (kind, subject)}
        if reason := _standing(own, windows[kind], kind, settings):
            reasons.setdefault(kind, []).append(f"{subject}: {reason}")
    newest = max((window for each in windows.values() for window in each), default=None)
    return Condition(
        newest, "data" in reasons, "inputs" in reasons, "predictions" in reasons, "performance" in reasons, reasons
    )


def _standing(reasons: Mapping[str, str], windows: Sequence[str], kind: Kind, settings: MonitoringConfig) -> str:
    """Return the reason if N of the last M windows and the newest violate, else nothing."""
    if not windows or windows[-1] not in reasons:
        return ""
    last = windows[-settings.windows :]
    count = sum(window in reasons for window in last)
    if count < (1 if kind == "data" else settings.violations):
        return ""
    return f"{reasons[windows[-1]]}; in {count} of the last {len(last)} windows"
