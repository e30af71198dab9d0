"""What a report shows of a search over settings, from the document that a training run stores of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.report.numbers import alike

_BEST: Final = 5


@dataclass(frozen=True)
class TrialRow:
    """A setting that was tried: its values, the mean loss over the folds and its standard error, and how long it took.

    Args:
        note: what it is, such as ``best``; ``is_chosen`` marks the one in use.
    """

    number: int
    setting: Mapping[str, float | int | str]
    loss: float
    error: float
    seconds: float
    note: str = ""
    is_chosen: bool = False


@dataclass(frozen=True)
class SearchTable:
    """The search over the settings of one model, the trials worth looking at, best first, and why one was chosen."""

    name: str
    metric: str
    rows: Sequence[TrialRow]
    reason: str

    @property
    def settings(self) -> list[str]:
        """Names of the settings."""
        return list(dict.fromkeys(name for row in self.rows for name in row.setting))


def tables(document: Mapping[str, Any], names: Mapping[str, str]) -> list[SearchTable]:
    """Return a table for each search that tried something: the best few trials, the chosen and the configured one.

    Args:
        document: per model under ``searches`` the trials with number, setting, mean, standard error and seconds, and the
            numbers of the best and the chosen; trial 0 is what was configured.
        names: what the models are called.
    """
    return [
        _table(names.get(name, name), document["metric"], search)
        for name, search in document["searches"].items()
        if search["trials"]
    ]


def note(document: Mapping[str, Any], *, group: str) -> str:
    """Return in which folds, by which method and for how long it was searched.

    Args:
        document: as for `tables`.
        group: what folds keep together that are not by time.
    """
    searches = list(document["searches"].values())
    trials, minutes = sum(len(each["trials"]) for each in searches), sum(each["seconds"] for each in searches) / 60
    resumed = sum(each["resumed"] for each in searches)
    held_out = document["folds"]["held_out"]
    how = (
        f"forward in time, each fitted on what was known before it began ({'; '.join(held_out)})"
        if document["folds"]["by"] == "time"
        else f"by {group}"
    )
    return (
        f"{trials} trials by {document['method']} in {minutes:.1f} minutes"
        + (f", {resumed} of them taken from an earlier run of the same search" if resumed else "")
        + f". The loss is the mean over {len(held_out)} folds of the training rows, {how}; it is taken before calibration."
    )


def _table(name: str, metric: str, search: Mapping[str, Any]) -> SearchTable:
    ranked = sorted(search["trials"], key=lambda trial: (trial["mean"], trial["number"]))
    shown = [
        trial
        for place, trial in enumerate(ranked)
        if place < _BEST or trial["number"] in (0, search["chosen"], search["best"])
    ]
    rows = [
        TrialRow(
            number=trial["number"],
            setting=trial["setting"],
            loss=trial["mean"],
            error=trial["standard_error"],
            seconds=trial["seconds"],
            note=", ".join(_notes(trial["number"], search)),
            is_chosen=trial["number"] == search["chosen"],
        )
        for trial in shown
    ]
    return SearchTable(name, metric, rows, _reason(ranked, search))


def _notes(number: int, search: Mapping[str, Any]) -> list[str]:
    return [text for text, is_so in (("best", number == search["best"]), ("as configured", number == 0)) if is_so]


def _reason(ranked: Sequence[Mapping[str, Any]], search: Mapping[str, Any]) -> str:
    best = ranked[0]
    bar = best["mean"] + best["standard_error"]
    within = sum(trial["mean"] <= bar for trial in ranked)
    mean, error = alike(best["mean"], best["mean"], 4), alike(best["standard_error"], best["mean"], 4)
    ended = f"Ended after {len(ranked)} trial{'s' if len(ranked) != 1 else ''}: {search['stopped']}."
    if search["chosen"] == search["best"]:
        others = f" and no simpler one is within one standard error ({error}) of it"
        return f"Trial {best['number']} is chosen: it has the least loss, {mean},{others}. {ended}"
    return (
        f"Trial {search['chosen']} is chosen: it is the simplest of the {within} within one standard error of the best, "
        f"trial {best['number']} with {mean} ± {error}. {ended}"
    )
