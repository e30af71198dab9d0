"""One self-contained HTML file per run, from plain Python values; nothing in it points outside.

A section without content is left out, from the page and from its table of contents. All text is escaped, and the page
forbids itself every script and every address; only figures, which `shared.report.figures` draws, go in as they are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from uuid import uuid4

import jinja2
from markupsafe import Markup, escape

from shared.core.errors import ConfigError, EnvironmentProblem
from shared.report import numbers
from shared.report.numbers import wilson
from shared.report.searching import SearchTable as SearchTable

Better = Literal["higher", "lower"]


class _Known(NamedTuple):
    """A metric of `shared.evaluation`: its usual name, what is better, and the value that cannot be beaten."""

    title: str
    better: Better | None
    perfect: float | None


_METRICS: Final[Mapping[str, _Known]] = {
    "auc": _Known("ROC AUC", "higher", 1.0),
    "pr_auc": _Known("PR AUC", "higher", 1.0),
    "log_loss": _Known("Log loss", "lower", 0.0),
    "brier": _Known("Brier score", "lower", 0.0),
    "ece": _Known("Calibration error", "lower", 0.0),
    "lift_at_10pct": _Known("Lift at 10%", "higher", None),
}
_SUSPICIOUS_ERRORS: Final = 3.0
_SUSPICIOUS_GAP: Final = 0.02
_FOUR_DIGITS_FROM: Final = 0.1


@dataclass(frozen=True)
class Headline:
    """A number a reader should take away, with a short note."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Model:
    """The registered model the report is about."""

    name: str
    version: int | str
    alias: str = ""


@dataclass(frozen=True)
class TableRow:
    """A table the run read or wrote, at the version it had."""

    name: str
    rows: int
    version: int


@dataclass(frozen=True)
class RuleRow:
    """A quality rule, how many rows it looked at, how many broke it, and values of some that did."""

    rule: str
    column: str | None
    checked: int
    failed: int
    severity: str = "error"
    table: str = ""
    examples: Sequence[str] = ()

    @property
    def share(self) -> float:
        """Share of the rows that broke the rule; 0 where none was looked at."""
        return self.failed / self.checked if self.checked else 0.0


@dataclass(frozen=True)
class MetricRow:
    """A metric with its interval, beside baseline and ceiling; None is not known.

    Args:
        name: a metric of `shared.evaluation`, shown by its usual name, or any other text.
        value, low, high: the estimate and its 95 % interval.
        baseline: what a model that knows nothing has on the same rows.
        ceiling: what the best possible model has on the same rows.
        meaning: what it says, in one line.
        perfect: end of the bar where the ceiling is not known; for the metrics of `shared.evaluation` it is known.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    ceiling: float | None = None
    meaning: str = ""
    perfect: float | None = None

    @property
    def better(self) -> Better:
        """Whether more is better, or less; of a metric that is not known, more."""
        return _known(self.name).better or "higher"

    @property
    def end(self) -> float | None:
        """Value at the far end of the bar: the ceiling, or else the perfect value; None where neither is known."""
        if self.ceiling is not None:
            return self.ceiling
        return self.perfect if self.perfect is not None else _known(self.name).perfect

    def reached(self, value: float | None) -> float | None:
        """Return how far ``value`` is from baseline (0) to `end` (1); None where the bar has no length.

        >>> MetricRow("auc", 0.8, baseline=0.5, ceiling=0.9).reached(0.8)
        0.75
        >>> MetricRow("brier", 0.12, baseline=0.16).reached(0.12)
        0.25
        """
        if value is None or self.baseline is None or self.end is None:
            return None
        length = self.end - self.baseline
        is_ahead = length > 0 if self.better == "higher" else length < 0
        reached = (value - self.baseline) / length if is_ahead else math.nan
        return round(reached, 6) if math.isfinite(reached) else None


@dataclass(frozen=True)
class FeatureRow:
    """A feature with its importance, largest first, which way it moves the score, and what is to be said of it."""

    name: str
    importance: float
    note: str = ""
    direction: str = ""


@dataclass(frozen=True)
class Figure:
    """A plot as SVG text, with title and caption, and the section it is shown in."""

    title: str
    svg: str
    caption: str = ""
    section: Literal["result", "decision"] = "result"


@dataclass(frozen=True)
class Slice:
    """How the model does on a part of the rows; ``auc`` is None where the part has one class."""

    column: str
    value: str
    rows: int
    observed: float
    predicted: float
    auc: float | None

    @property
    def is_off(self) -> bool:
        """Whether prediction and observation differ by more than chance and by enough to matter.

        The prediction is outside the Wilson interval of three standard errors (so that few of many slices are flagged
        by chance), and at least two percentage points away.
        """
        low, high = wilson(self.observed, self.rows, _SUSPICIOUS_ERRORS)
        return abs(self.observed - self.predicted) >= _SUSPICIOUS_GAP and not low <= self.predicted <= high


@dataclass(frozen=True)
class Confusion:
    """What the threshold does on the test rows, and what each cell of it earns; None is not known.

    Args:
        threshold: score from which a row is selected.
        true_positives, false_positives, false_negatives, true_negatives: rows.
        earned: expected money from the positives selected.
        spent: expected money from the negatives selected, below zero when it is lost.
        missed: money that selecting the other positives would have earned.
        positive, negative, selected, left: what the classes and the decisions are called.
    """

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    earned: float | None = None
    spent: float | None = None
    missed: float | None = None
    positive: str = "positive"
    negative: str = "negative"
    selected: str = "selected"
    left: str = "not selected"

    @property
    def profit(self) -> float | None:
        """What the selected rows earn together; None where a part of it is not known."""
        return None if self.earned is None or self.spent is None else self.earned + self.spent


@dataclass(frozen=True)
class RunReport:
    """Content of the report; see `render`.

    Args:
        title, subtitle, question: what was asked; the subtitle stands above the title.
        run_id, created_ts, source, model: which run, when (UTC), on which data, and the model it gave.
        headlines: three to six numbers.
        summary: the answer in one to three paragraphs.
        tables, quality: the tables of the run and the rules they were held to. Rules may be mappings with the names of
            the fields, so that rows of a stored table can be passed as they are; other names in them are ignored.
        notes: sentences about the rows, above all which were left out and why.
        features, dropped: importance, and reasons for features that were left out; ``features_note`` says what the
            importance of a feature measures.
        metrics: the test metrics; ``metrics_note`` says what was tested and how the intervals came about.
        candidates: per candidate its validation metrics; ``chosen`` names the one in use.
        searches: the searches over their settings; ``searches_note`` says on which folds, how, and for how long.
        figures: plots.
        slices: parts of the test rows.
        decision: sentences about whom to select and what that earns; ``confusion`` shows it as a table.
        actions: what to do next.
        config: the settings as yaml.
    """

    title: str
    question: str
    run_id: str
    created_ts: datetime
    source: str
    subtitle: str = ""
    model: Model | None = None
    headlines: Sequence[Headline] = ()
    summary: Sequence[str] = ()
    tables: Sequence[TableRow] = ()
    quality: Sequence[RuleRow | Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    features: Sequence[FeatureRow] = ()
    features_note: str = ""
    dropped: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[MetricRow] = ()
    metrics_note: str = ""
    candidates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    chosen: str = ""
    searches: Sequence[SearchTable] = ()
    searches_note: str = ""
    figures: Sequence[Figure] = ()
    slices: Sequence[Slice] = ()
    decision: Sequence[str] = ()
    confusion: Confusion | None = None
    actions: Sequence[str] = ()
    config: str = ""


def render(report: RunReport) -> str:
    """Return the report as HTML; the same content gives the same text.

    Raises:
        ConfigError: a figure is not a drawing of `shared.report.figures`.
    """
    figures: dict[str, list[tuple[Figure, Markup]]] = {"result": [], "decision": []}
    for figure in report.figures:
        figures[figure.section].append((figure, drawing(figure)))
    slices: dict[str, list[Slice]] = {}
    for part in report.slices:
        slices.setdefault(part.column, []).append(part)
    return (
        environment()
        .get_template("run.html.j2")
        .render(
            report=report,
            figures=figures,
            rules=[_rule(row) for row in report.quality],
            candidates=_candidates(report.candidates),
            slices=slices,
        )
    )


def environment() -> jinja2.Environment:
    """Return how pages are made from the templates of this package."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("shared.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = (numbers.number, numbers.percent, numbers.points, numbers.alike, numbers.money)
    made.filters |= {format_.__name__: format_ for format_ in formats} | {"called": _called}
    return made


def write(report: RunReport, path: Path) -> Path:
    """Write the report to ``path`` in one move, so that no half-written file is ever seen.

    Raises:
        ConfigError: as `render`; the file at ``path`` stays as it was.
        EnvironmentProblem: the folder cannot be written.
    """
    return write_text(render(report), path)


def write_text(text: str, path: Path) -> Path:
    """Write a page to ``path`` in one move.

    Raises:
        EnvironmentProblem: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as problem:
        raise EnvironmentProblem(
            "REPORT_NOT_WRITABLE",
            f"The report cannot be written to {path}: {problem.strerror or problem}.",
            "A folder this user may write to, with space left.",
            "Free space, or change the folder or its permissions.",
        ) from problem
    finally:
        if temporary.is_file():
            temporary.unlink()
    return path


def _rule(row: RuleRow | Mapping[str, Any]) -> RuleRow:
    if isinstance(row, RuleRow):
        return row
    names = {field_.name for field_ in fields(RuleRow)}
    return RuleRow(**{name: value for name, value in row.items() if name in names})


def drawing(figure: Figure) -> Markup:
    """Return the SVG with the title of the figure as its name for those who cannot see it."""
    if not figure.svg.startswith("<svg ") or "<script" in figure.svg.lower():
        raise ConfigError(
            "FIGURE_NOT_SVG",
            f"Figure {figure.title!r} starts with {figure.svg[:20]!r}.",
            "One SVG element without scripts.",
            "Draw it with shared.report.figures.",
        )
    label = escape(f"{figure.title}. {figure.caption}".strip())
    return Markup(figure.svg.replace("<svg ", f'<svg aria-label="{label}" ', 1))


def _candidates(candidates: Mapping[str, Mapping[str, float]]) -> dict[str, list[tuple[str, bool]]]:
    """Return per metric the text of each candidate's value, and whether it is the best of the known metric."""
    table = {}
    for metric in dict.fromkeys(metric for values in candidates.values() for metric in values):
        values = [row.get(metric) for row in candidates.values()]
        known = [value for value in values if value is not None]
        better = _known(metric).better
        best = {"higher": max, "lower": min}[better](known) if better else None
        largest = max(known, key=abs)
        digits = 4 if abs(largest) >= _FOUR_DIGITS_FROM else 3
        table[metric] = [
            (numbers.alike(value, largest, digits), value is not None and value == best) for value in values
        ]
    return table


def _known(metric: str) -> _Known:
    return _METRICS.get(metric, _Known(metric, None, None))


def _called(metric: str) -> str:
    return _known(metric).title
