"""One self-contained HTML file per run, from plain Python values; nothing in it points outside.

A section without content is left out. Text is escaped; only figures, which this package draws, go in as they are.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import jinja2
from markupsafe import Markup


@dataclass(frozen=True)
class Headline:
    """A number a reader should take away, with a short note."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class MetricRow:
    """A metric with its interval, beside baseline and ceiling; None is not known."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    ceiling: float | None = None
    better: Literal["higher", "lower"] = "higher"
    meaning: str = ""


@dataclass(frozen=True)
class FeatureRow:
    """A feature with its importance, largest first, and what is to be said of it."""

    name: str
    importance: float
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A plot as SVG text, with title and caption."""

    title: str
    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Slice:
    """How the model does on a part of the rows."""

    column: str
    value: str
    rows: int
    observed: float
    predicted: float
    auc: float | None


@dataclass(frozen=True)
class RunReport:
    """Content of the report; see `render`.

    Args:
        title, question: what was asked.
        run_id, created_ts, source: which run.
        headlines: three to six numbers.
        steps, tables, quality: rows of plain values.
        features, dropped: importance, and reasons for features that were left out.
        metrics: the test metrics.
        candidates: per candidate its validation metrics; ``chosen`` names the one in use.
        figures: plots.
        slices: parts of the test rows.
        decision: sentences about whom to contact and what that earns.
        actions: what to do next.
        config: the settings as yaml.
    """

    title: str
    question: str
    run_id: str
    created_ts: datetime
    source: str
    headlines: Sequence[Headline] = ()
    steps: Sequence[Mapping[str, Any]] = ()
    tables: Sequence[Mapping[str, Any]] = ()
    quality: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    features: Sequence[FeatureRow] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[MetricRow] = ()
    candidates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    chosen: str = ""
    figures: Sequence[Figure] = ()
    slices: Sequence[Slice] = ()
    decision: Sequence[str] = ()
    actions: Sequence[str] = ()
    config: str = ""


def render(report: RunReport) -> str:
    """Return the report as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("shared.report", ""), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"number": number, "percent": percent}
    figures = [(figure.title, Markup(figure.svg), figure.caption) for figure in report.figures]
    return environment.get_template("run.html.j2").render(report=report, figures=figures)


def write(report: RunReport, path: Path) -> Path:
    """Write the report to ``path`` in one move, so that no half-written file is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".html")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(render(report))
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)
    return path


def number(value: float | int | str | None) -> str:
    """Return a number as people read it.

    >>> number(1234567), number(0.123456), number(None)
    ('1,234,567', '0.1235', '–')
    """
    match value:
        case None:
            return "–"
        case bool() | str():
            return str(value)
        case int():
            return f"{value:,}"
        case _:
            return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """Return a rate as a percentage.

    >>> percent(0.0712)
    '7.1 %'
    """
    return "–" if value is None else f"{100 * value:.1f} %"
