"""The monitoring page: one self-contained HTML file with the history of a model, from what monitoring found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup

from shared.monitoring.drift import Drift, judged_against, unless_right
from shared.monitoring.quality import Rejected
from shared.monitoring.settings import MonitoringConfig
from shared.monitoring.watch import Found, Watched
from shared.report import figures, html
from shared.report.html import Figure, Headline
from shared.report.numbers import number, percent

_WINDOWS_SHOWN = 24
_INPUTS_DRAWN = 3


@dataclass(frozen=True)
class MonitoringPage:
    """Content of the page; see `render`.

    Args:
        title, subtitle: the question, and the subject above it.
        model, run_id, created_ts, source: which model, run, moment (UTC) and data.
        found, watched: what monitoring found, and of what.
        settings: by which it was judged.
        rejected: what was put aside, oldest first.
    """

    title: str
    subtitle: str
    model: html.Model
    run_id: str
    created_ts: datetime
    source: str
    found: Found
    watched: Watched
    settings: MonitoringConfig
    rejected: Sequence[Rejected] = ()


class Cell(NamedTuple):
    """A column in a window: its distance, how deep it is coloured, and what is to be said of it."""

    value: float | None
    depth: float
    is_out: bool
    is_taught: bool
    title: str


class SliceRow(NamedTuple):
    """A part of the newest window."""

    name: str
    rows: int
    violations: int
    largest: str


def render(page: MonitoringPage) -> str:
    """Return the page as HTML; the same content gives the same text."""
    found, windows = page.found, list(page.found.windows[-_WINDOWS_SHOWN:])
    judged = judged_against(found.drifts, page.settings)
    standing = [f"{kind}: {reason}." for kind, reasons in found.condition.reasons.items() for reason in reasons]
    return (
        html.environment()
        .get_template("monitoring.html.j2")
        .render(
            page=page,
            answer=_answer(found),
            headlines=_headlines(page, judged),
            standing=standing,
            alerts=list(reversed(found.alerts)),
            heat={"windows": windows, "rows": _heat(page, judged, windows)},
            figures={
                "inputs": _drawn(_inputs(page, judged, windows)),
                "model": _drawn(_model(page, judged, windows)),
                "quality": _drawn(_quality(page.rejected)),
            },
            performances=[p for p in reversed(found.performances) if p.window in found.watched],
            slices=_slices(page),
            rules=_rules(page),
        )
    )


def _drawn(plots: Sequence[Figure]) -> list[tuple[Figure, Markup]]:
    return [(figure, html.drawing(figure)) for figure in plots]


def _answer(found: Found) -> str:
    state = found.condition
    if not found.watched:
        return "No window after those that taught the model is there yet."
    if state.data_broken:
        return "The data are broken: mend them before anything is trained or scored on them."
    if state.performance_lost:
        return "It has got worse: train a challenger."
    if state.inputs_drifted or state.predictions_drifted:
        return "The customers have changed; labels do not show a loss so far."
    return "Nothing that matters has changed."


def _headlines(page: MonitoringPage, judged: Sequence[Drift]) -> list[Headline]:
    found, prediction = page.found, page.watched.prediction
    newest = [drift for drift in judged if drift.window == found.newest]
    rows = next((p.rows for p in found.profiles if p.window == found.newest and p.slice_key is None), 0)
    drifted = found.drifted(prediction)
    of_prediction = next((drift for drift in newest if drift.column == prediction), None)
    matured = [p for p in found.performances if p.window in found.watched and p.auc is not None]
    cards = [
        Headline("Newest window", found.newest or "–", f"{number(rows)} rows"),
        Headline(
            "Inputs that drift",
            str(len(drifted)),
            f"of {len(page.watched.bins) - 1}; " + (", ".join(drifted[:3]) or "none"),
        ),
        Headline(
            "Prediction drift",
            f"{of_prediction.distance:.3f}" if of_prediction and of_prediction.distance is not None else "–",
            f"KS, from {of_prediction.compared_with}" if of_prediction else "",
        ),
    ]
    if matured:
        last = matured[-1]
        note = f"{last.window}, {percent(last.labelled_share)} labelled; {page.watched.test['auc']:.3f} when evaluated"
        cards.append(Headline("AUC with newest labels", f"{last.auc:.3f}", note))
    if page.rejected:
        last_in = page.rejected[-1]
        note = f"of {number(last_in.checked)} rows checked on {last_in.day}"
        cards.append(Headline("Rows put aside", percent(last_in.share), note))
    return cards


def _heat(page: MonitoringPage, judged: Sequence[Drift], windows: Sequence[str]) -> list[tuple[str, list[Cell]]]:
    """Return a row for each column, those that moved most in the newest window first."""
    known = {(drift.column, drift.window): drift for drift in judged}
    watched = set(page.found.watched)
    names = [b.name for b in page.watched.bins]
    top = max([0.2, *(d.distance or 0.0 for d in judged)])

    def cell(drift: Drift | None, window: str) -> Cell:
        value = drift.distance if drift else None
        depth = round(min((value or 0.0) / top, 1.0), 3)
        is_watched = window in watched
        out = bool(drift and drift.violation and is_watched)
        return Cell(value, depth, out, not is_watched, drift.reason if drift else "")

    def moved(name: str) -> float:
        newest = known.get((name, windows[-1])) if windows else None
        return -(newest.distance or 0.0) if newest else 0.0

    return [(name, [cell(known.get((name, w)), w) for w in windows]) for name in sorted(names, key=moved)]


def _inputs(page: MonitoringPage, judged: Sequence[Drift], windows: Sequence[str]) -> list[Figure]:
    """Return means over windows of the numbers that drift in the newest window, the largest distance first."""
    newest = [d for d in judged if d.window == page.found.newest and d.mean_change is not None and d.violation]
    chosen = sorted(newest, key=lambda d: -(d.distance or 0.0))[:_INPUTS_DRAWN]
    means = {(p.column, p.window): p.mean for p in page.found.profiles if p.slice_key is None}
    out = {(d.column, d.window) for d in judged if d.violation and d.window in page.found.watched}
    return [
        Figure(
            f"Mean of {drift.column}",
            figures.history(
                windows,
                [(drift.column, [means.get((drift.column, w)) for w in windows])],
                "mean",
                marked=[place for place, w in enumerate(windows) if (drift.column, w) in out],
                watched_from=_watched_from(page, windows),
            ),
            drift.reason,
        )
        for drift in chosen
        if drift.column != page.watched.prediction
    ]


def _model(page: MonitoringPage, judged: Sequence[Drift], windows: Sequence[str]) -> list[Figure]:
    found, prediction = page.found, page.watched.prediction
    start = _watched_from(page, windows)
    of_prediction = {d.window: d for d in judged if d.column == prediction}
    performances = {p.window: p for p in found.performances}
    distances = [of_prediction[w].distance if w in of_prediction else None for w in windows]
    marked = [i for i, w in enumerate(windows) if i >= start and w in of_prediction and of_prediction[w].violation]
    drawn = [
        Figure(
            "Prediction drift",
            figures.history(
                windows,
                [("distance", distances)],
                "KS distance",
                bound=page.settings.min_distance,
                marked=marked,
                watched_from=start,
            ),
            f"The dashed line is the least distance that matters, {page.settings.min_distance:g}.",
        )
    ]
    if any(p.labelled for p in found.performances):

        def line(name: str) -> list[float | None]:
            return [getattr(performances[w], name) if w in performances else None for w in windows]

        lines = [("AUC", line("auc")), ("labelled share", line("labelled_share"))]
        caption = (
            f"The dashed line is the AUC of the evaluation, {page.watched.test['auc']:.3f}. No AUC without labels."
        )
        shown = figures.history(windows, lines, "AUC, share", bound=page.watched.test["auc"], watched_from=start)
        drawn.append(Figure("AUC, with the labelled share", shown, caption))
        rates = [("observed", line("observed")), ("predicted", line("predicted"))]
        shown = figures.history(windows, rates, "rate", watched_from=start, is_share=True)
        drawn.append(Figure("Observed and predicted rate", shown, "Of the labelled rows."))
    return drawn


def _quality(rejected: Sequence[Rejected]) -> list[Figure]:
    if not rejected:
        return []
    names = [str(each.day) for each in rejected]
    drawn = figures.history(names, [("put aside", [each.share for each in rejected])], "share of rows", is_share=True)
    return [Figure("Rows put aside", drawn, "One point an ingestion, by the day it was made, or a day of a stream.")]


def _slices(page: MonitoringPage) -> list[SliceRow]:
    newest = [d for d in page.found.drifts if d.window == page.found.newest and d.slice_key is not None]
    recent = {(d.slice_key, d.slice_value) for d in newest if d.against == "RECENT"}
    use_recent = page.settings.compare_with == "recent"
    parts: dict[tuple[str | None, str | None], list[Drift]] = {}
    for drift in newest:
        key = (drift.slice_key, drift.slice_value)
        if drift.against == ("RECENT" if use_recent and key in recent else "BASELINE"):
            parts.setdefault(key, []).append(drift)
    rows = {(p.slice_key, p.slice_value): p.rows for p in page.found.profiles if p.window == page.found.newest}
    found = []
    for (name, value), drifts in sorted(parts.items(), key=lambda part: str(part[0])):
        known = [d for d in drifts if d.distance is not None]
        largest = max(known, key=lambda d: d.distance or 0.0, default=None)
        words = f"{largest.distance:.3f}, {largest.column}" if largest else drifts[0].reason
        count = sum(bool(d.violation) for d in unless_right(drifts, page.settings))
        found.append(SliceRow(f"{name} = {value}", rows.get((name, value), 0), count, words))
    return found


def _watched_from(page: MonitoringPage, windows: Sequence[str]) -> int:
    watched = set(page.found.watched)
    return next((place for place, name in enumerate(windows) if name in watched), len(windows))


def _rules(page: MonitoringPage) -> list[str]:
    s = page.settings
    reference = (
        f"the {s.reference_windows} windows that end {s.windows} before it, and where there are not so many with the training rows"
        if s.compare_with == "recent"
        else "the training rows"
    )
    return [
        f"A window is compared with {reference}; the tables also hold the drift from the training rows and from the window "
        "before.",
        "Bins are learned once from the training rows: tenths for numbers, levels for categories; a value on a bound is in "
        "the bin above it.",
        f"A column violates when a test says so at {s.alpha:g}, corrected for all tests of the window (Holm), and the distance is "
        f"at least {s.min_distance:g}; when the share of rows without a value changed by {percent(s.min_null_change)}; or when "
        f"{percent(s.min_unseen)} of the values are new.",
        f"Fewer than {s.min_rows} rows on either side give no statistic.",
        f"An alert fires when {s.violations} of the last {s.windows} windows and the newest violate, and for broken data at once; "
        f"then not again about the same for {s.cooldown_windows} windows.",
    ]
