"""Drift of every column of a window: against the training rows, the window before, and the windows some time before.

Whatever there are too few rows for is None, and `Drift.reason` says so. A violation needs both a test, corrected for all
tests of the window, and a difference that matters also at the lower end of its confidence interval: with many rows every
difference passes a test, and with few a small one looks large by chance.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from statistics import NormalDist
from typing import Final, Literal

from shared.monitoring import statistics
from shared.monitoring.bins import ColumnBins
from shared.monitoring.profile import Profile
from shared.monitoring.settings import MonitoringConfig

Against = Literal["BASELINE", "CONSECUTIVE", "RECENT"]
BROKEN: Final = ("nulls", "unseen")
"""Violations of data, not of a population."""


@dataclass(frozen=True)
class Drift:
    """How one column of a window differs from a reference; shares are 0 to 1.

    Args:
        window, slice_key, slice_value, column: as in the profile.
        against: the kind of reference; ``compared_with`` names its windows.
        rows, reference_rows: rows with a value on both sides.
        psi, js_distance, total_variation: distances of the bins.
        ks, ks_p_value: of a number, at the bounds of its bins.
        chi_square, chi_square_p_value: of the bins.
        mean_change: of a number, in standard deviations of the reference.
        null_change, null_p_value: change of the share of rows without a value.
        margin, null_margin: how far distance and null change may be above the true ones by chance, at ``alpha``, one side.
        unseen: share of values that the training rows did not have; None for a number, or where levels were too many.
        p_value: least p-value of the column, corrected for all tests of its window, slice and reference (Holm).
        violation: ``distribution``, ``nulls`` or ``unseen``, or empty.
        reason: why it violates, or why there is no statistic.
    """

    window: str
    slice_key: str | None
    slice_value: str | None
    column: str
    against: Against
    compared_with: str
    rows: int
    reference_rows: int
    psi: float | None = None
    js_distance: float | None = None
    total_variation: float | None = None
    ks: float | None = None
    ks_p_value: float | None = None
    chi_square: float | None = None
    chi_square_p_value: float | None = None
    mean_change: float | None = None
    null_change: float | None = None
    null_p_value: float | None = None
    null_margin: float | None = None
    margin: float | None = None
    unseen: float | None = None
    p_value: float | None = None
    violation: str = ""
    reason: str = ""

    @property
    def distance(self) -> float | None:
        """What is held against ``min_distance``: Kolmogorov–Smirnov of a number, total variation of a category."""
        return self.total_variation if self.ks is None else self.ks


Key = tuple[str | None, str | None, str]
_Place = tuple[str, str]  # column and window


def of_window(
    window: str,
    history: Mapping[str, Sequence[Profile]],
    baseline: Sequence[Profile],
    bins: Sequence[ColumnBins],
    settings: MonitoringConfig,
) -> list[Drift]:
    """Return the drift of every slice and column of ``window`` against all references there are.

    Args:
        window: a key of ``history``.
        history: windows, which sort by time, and their profiles; later ones play no part.
        baseline: profiles of the training rows.
        bins: the bins that all were counted in.
        settings: when a difference violates; ``may_change`` plays no part, since a window is measured once.
    """
    known = {b.name: b for b in bins}
    mine = {_key(profile): profile for profile in history[window]}
    found = [
        compare(reference[key], profile, known[profile.column], against, name, settings)
        for against, name, reference in _references(window, history, baseline, settings)
        for key, profile in mine.items()
        if key in reference
    ]
    return [_with_verdict(drift, of_bins, of_nulls, settings) for drift, of_bins, of_nulls in _corrected(found)]


def judged_against(drifts: Sequence[Drift], settings: MonitoringConfig) -> list[Drift]:
    """Return those drifts of whole windows that alerts go by: of each window its recent reference, if it has one.

    A distribution that stays becomes the new normal, broken data do not: values that are new to the model count against
    the training rows always, and so do missing ones from the window in which their share jumped until it is back. A share
    that grows slowly is no break.

    Args:
        drifts: of all windows; a jump in one that is left out is not seen.
        settings: which reference counts, and what may change.
    """
    whole = unless_right([drift for drift in drifts if drift.slice_key is None], settings)
    baseline, recent = ({_place(d): d for d in whole if d.against == against} for against in ("BASELINE", "RECENT"))
    if settings.compare_with == "baseline":
        recent = {}
    broken = {place for place, drift in baseline.items() if drift.violation == "unseen"} | _missing(baseline, recent)
    # The share of missing values jumped back to that of the training rows.
    mended = {place for place, drift in recent.items() if drift.violation == "nulls"} - broken
    return [drift if place in broken | mended else recent.get(place, drift) for place, drift in baseline.items()]


def unless_right(drifts: Sequence[Drift], settings: MonitoringConfig) -> list[Drift]:
    """Return the drifts; of broken columns that may change, with the verdict on the distribution instead.

    Args:
        drifts: all columns of each window, slice and reference, since tests are corrected for their number.
        settings: what may change, and when a distribution violates.
    """
    return [
        _of_distribution(_unjudged(drift, settings), of_bins, settings)
        if drift.column in settings.may_change and drift.violation in BROKEN
        else drift
        for drift, of_bins, _ in _corrected(drifts)
    ]


def _unjudged(drift: Drift, settings: MonitoringConfig) -> Drift:
    few = _too_few(drift.rows, drift.reference_rows, "rows with a value", settings)
    return replace(drift, violation="", reason=few if drift.distance is None else "")


def _missing(baseline: Mapping[_Place, Drift], recent: Mapping[_Place, Drift]) -> set[_Place]:
    """Return where more or fewer values are missing than in the training rows, without a pause since a jump."""
    found: set[_Place] = set()
    for _, places in groupby(sorted(baseline), key=itemgetter(0)):
        has_jumped = False
        for place in places:
            drift, before = baseline[place], recent.get(place)
            if drift.null_p_value is None:  # too few rows to tell
                continue
            is_jump = before is None or before.violation == "nulls"
            has_jumped = drift.violation == "nulls" and (has_jumped or is_jump)
            if has_jumped:
                found.add(place)
    return found


def _place(drift: Drift) -> _Place:
    return (drift.column, drift.window)


def compare(
    reference: Profile,
    actual: Profile,
    bins: ColumnBins,
    against: Against,
    compared_with: str,
    settings: MonitoringConfig,
) -> Drift:
    """Return the statistics of one column; nothing is judged yet."""
    drift = Drift(
        actual.window,
        actual.slice_key,
        actual.slice_value,
        actual.column,
        against,
        compared_with,
        actual.values,
        reference.values,
    )
    beyond = NormalDist().inv_cdf(1 - settings.alpha)
    if min(actual.rows, reference.rows) < settings.min_rows:
        return replace(drift, reason=_too_few(actual.rows, reference.rows, "rows", settings))
    drift = replace(
        drift,
        null_change=actual.nulls / actual.rows - reference.nulls / reference.rows,
        null_p_value=statistics.share_p_value(actual.nulls, actual.rows, reference.nulls, reference.rows),
        null_margin=beyond * statistics.share_error(actual.nulls, actual.rows, reference.nulls, reference.rows),
    )
    if min(actual.values, reference.values) < settings.min_rows:
        return replace(drift, reason=_too_few(actual.values, reference.values, "rows with a value", settings))
    statistic, _, p_value = statistics.chi_square(reference.counts, actual.counts)
    drift = replace(
        drift,
        psi=statistics.psi(reference.counts, actual.counts),
        js_distance=statistics.js_distance(reference.counts, actual.counts),
        # A share's standard error is at most half of one over the root of its rows.
        margin=beyond * math.sqrt(1 / reference.values + 1 / actual.values) / 2,
        total_variation=statistics.total_variation(reference.counts, actual.counts),
        chi_square=statistic,
        chi_square_p_value=p_value,
    )
    if bins.kind == "categorical":
        return replace(drift, unseen=actual.counts[-1] / actual.values if bins.is_complete else None)
    distance = statistics.ks(reference.counts, actual.counts)
    moved = (actual.mean or 0.0) - (reference.mean or 0.0)
    return replace(
        drift,
        ks=distance,
        ks_p_value=statistics.ks_p_value(distance, reference.values, actual.values),
        mean_change=moved / reference.deviation if reference.deviation else None,
    )


def pooled(profiles: Sequence[Profile]) -> Profile:
    """Return one profile of all rows of several windows of the same slice and column."""
    first = profiles[0]
    held = [p for p in profiles if p.mean is not None and p.values]
    values = sum(p.values for p in held)
    mean = sum((p.mean or 0.0) * p.values for p in held) / values if held else None
    spread = sum(((p.deviation or 0.0) ** 2 + ((p.mean or 0.0) - (mean or 0.0)) ** 2) * p.values for p in held)
    return replace(
        first,
        rows=sum(p.rows for p in profiles),
        nulls=sum(p.nulls for p in profiles),
        counts=tuple(sum(cell) for cell in zip(*(p.counts for p in profiles), strict=True)),
        mean=mean,
        deviation=(spread / values) ** 0.5 if held else None,
        least=min((p.least for p in held if p.least is not None), default=None),
        greatest=max((p.greatest for p in held if p.greatest is not None), default=None),
    )


def _references(
    window: str, history: Mapping[str, Sequence[Profile]], baseline: Sequence[Profile], settings: MonitoringConfig
) -> list[tuple[Against, str, dict[Key, Profile]]]:
    before = sorted(name for name in history if name < window)
    found: list[tuple[Against, str, dict[Key, Profile]]] = [
        ("BASELINE", "training rows", {_key(profile): profile for profile in baseline})
    ]
    if before:
        found.append(("CONSECUTIVE", before[-1], {_key(profile): profile for profile in history[before[-1]]}))
    # The last `windows` windows, this one among them, are those an alert is about: none of them is a reference.
    until = len(before) - settings.windows + 1
    recent = before[max(until - settings.reference_windows, 0) : max(until, 0)]
    if len(recent) == settings.reference_windows:
        parts: dict[Key, list[Profile]] = {}
        for name in recent:
            for profile in history[name]:
                parts.setdefault(_key(profile), []).append(profile)
        name = recent[0] if len(recent) == 1 else f"{recent[0]} to {recent[-1]}"
        found.append(("RECENT", name, {key: pooled(each) for key, each in parts.items()}))
    return found


def _key(profile: Profile) -> Key:
    return (profile.slice_key, profile.slice_value, profile.column)


def _too_few(rows: int, reference_rows: int, what: str, settings: MonitoringConfig) -> str:
    return f"{rows:,} {what}, {reference_rows:,} to compare with: fewer than {settings.min_rows}"


def _corrected(drifts: Sequence[Drift]) -> Iterator[tuple[Drift, float | None, float | None]]:
    """Yield each with the p-values of its bins and of its nulls, corrected for all tests of its window, slice and reference."""
    families: dict[tuple[str, ...], list[Drift]] = {}
    for d in drifts:
        families.setdefault((d.window, d.against, d.slice_key or "", d.slice_value or ""), []).append(d)
    for family in families.values():
        tests = [(d.chi_square_p_value if d.ks is None else d.ks_p_value, d.null_p_value) for d in family]
        corrected = iter(statistics.holm([p for pair in tests for p in pair if p is not None]))
        for drift, (of_bins, of_nulls) in zip(family, tests, strict=True):
            yield drift, None if of_bins is None else next(corrected), None if of_nulls is None else next(corrected)


def _with_verdict(drift: Drift, of_bins: float | None, of_nulls: float | None, settings: MonitoringConfig) -> Drift:
    known = [p for p in (of_bins, of_nulls) if p is not None]
    drift = replace(drift, p_value=min(known) if known else None)
    change = drift.null_change
    is_beyond_chance = of_nulls is not None and of_nulls < settings.alpha
    if is_beyond_chance and change is not None and abs(change) - (drift.null_margin or 0.0) >= settings.min_null_change:
        way = "more" if change > 0 else "fewer"
        found = f"{abs(change):.1%} of the rows {way} than in {drift.compared_with} have no value (p {of_nulls:.2g})"
        return replace(drift, violation="nulls", reason=found)
    if drift.unseen is not None and drift.unseen >= settings.min_unseen:
        return replace(drift, violation="unseen", reason=f"{drift.unseen:.1%} of the values are new to the model")
    return _of_distribution(drift, of_bins, settings)


def _of_distribution(drift: Drift, of_bins: float | None, settings: MonitoringConfig) -> Drift:
    distance = drift.distance
    is_beyond_chance = of_bins is not None and of_bins < settings.alpha
    if is_beyond_chance and distance is not None and distance - (drift.margin or 0.0) >= settings.min_distance:
        moved = f", mean {drift.mean_change:+.2f} sd" if drift.mean_change is not None else ""
        name = "KS" if drift.ks is not None else "total variation"
        found = f"{name} {distance:.3f} from {drift.compared_with}{moved} (p {of_bins:.2g}, PSI {drift.psi:.3f})"
        return replace(drift, violation="distribution", reason=found)
    return drift
