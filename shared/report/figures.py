"""Plots as SVG text, from plain points; the same points give the same text.

Figures are made without pyplot, so no state is shared between reports or threads.
"""

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import PercentFormatter

# Blue and orange of Okabe & Ito's palette, which people with any colour vision tell apart.
BLUE, ORANGE, GREY, GREEN = "#0072b2", "#d55e00", "#8a94a0", "#009e73"
_STYLE: Any = {
    "svg.hashsalt": "accelerators",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#c3cad2",
    "axes.labelcolor": "#3b4754",
    "xtick.color": "#5b6773",
    "ytick.color": "#5b6773",
    "axes.grid": True,
    "grid.color": "#edf0f3",
    "legend.frameon": False,
}

Points = Sequence[tuple[float, float]]


def roc(points: Points, auc: float) -> str:
    """Draw (false positive rate, true positive rate)."""
    return _lines(
        points, "false positive rate", "true positive rate", f"model, AUC {auc:.3f}", [(0, 0), (1, 1)], "chance"
    )


def precision_recall(points: Points, rate: float) -> str:
    """Draw (recall, precision) over the positive rate."""
    return _lines(points, "recall", "precision", "model", [(0, rate), (1, rate)], f"everybody, {rate:.1%}")


def gains(points: Points, rate: float) -> str:
    """Draw (share contacted, share of positives found), with the best possible order."""
    return _lines(
        points,
        "share of customers, riskiest first",
        "share of churners found",
        "model",
        [(0, 0), (1, 1)],
        "by chance",
        best=[(0, 0), (rate, 1), (1, 1)],
    )


def lift(points: Points) -> str:
    """Draw (share contacted, lift)."""
    with matplotlib.rc_context(_STYLE):
        canvas, axes = _axes("share of customers contacted", "lift")
        axes.axhline(1, color=GREY, linestyle="--", linewidth=1, label="by chance")
        axes.plot([x for x, _ in points], [y for _, y in points], color=BLUE, linewidth=2, label="model")
        axes.set(xlim=(0, 1), ylim=(0, None))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(loc="upper right")
        return _svg(canvas)


def calibration(bins: Sequence[tuple[float, float, int]]) -> str:
    """Draw mean predicted probability against observed rate; the size of a dot is the number of rows."""
    with matplotlib.rc_context(_STYLE):
        canvas, axes = _axes("predicted probability", "observed rate")
        top = max((max(p, o) for p, o, _ in bins), default=1.0) * 1.1
        axes.plot([0, top], [0, top], color=GREY, linestyle="--", linewidth=1, label="perfect")
        largest = max((n for _, _, n in bins), default=1)
        axes.plot([p for p, _, _ in bins], [o for _, o, _ in bins], color=BLUE, linewidth=1.5)
        axes.scatter(
            [p for p, _, _ in bins],
            [o for _, o, _ in bins],
            s=[60 * n / largest for *_, n in bins],
            color=BLUE,
            label="model",
            zorder=3,
        )
        axes.set(xlim=(0, top), ylim=(0, top))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(loc="upper left")
        return _svg(canvas)


def profit(points: Points, chosen_share: float) -> str:
    """Draw (share contacted, profit), with the share that the threshold selects."""
    with matplotlib.rc_context(_STYLE):
        canvas, axes = _axes("share of customers contacted", "expected profit")
        axes.plot([x for x, _ in points], [y for _, y in points], color=BLUE, linewidth=2)
        axes.axhline(0, color=GREY, linewidth=1)
        axes.axvline(
            chosen_share, color=ORANGE, linestyle="--", linewidth=1.5, label=f"threshold: contact {chosen_share:.0%}"
        )
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(loc="lower left")
        return _svg(canvas)


def importance(rows: Sequence[tuple[str, float]]) -> str:
    """Draw horizontal bars, the largest on top."""
    with matplotlib.rc_context(_STYLE):
        canvas, axes = _axes("mean change of the log-odds", "", height=0.28 * len(rows) + 0.9)
        axes.barh([name for name, _ in reversed(rows)], [value for _, value in reversed(rows)], color=BLUE)
        axes.grid(axis="y", visible=False)
        return _svg(canvas)


def _lines(
    points: Points, x: str, y: str, label: str, reference: Points, reference_label: str, best: Points | None = None
) -> str:
    with matplotlib.rc_context(_STYLE):
        canvas, axes = _axes(x, y)
        if best:
            axes.plot(
                [p[0] for p in best],
                [p[1] for p in best],
                color=GREEN,
                linewidth=1,
                linestyle=":",
                label="perfect order",
            )
        axes.plot(
            [p[0] for p in reference],
            [p[1] for p in reference],
            color=GREY,
            linestyle="--",
            linewidth=1,
            label=reference_label,
        )
        axes.plot([p[0] for p in points], [p[1] for p in points], color=BLUE, linewidth=2, label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(loc="best")
        return _svg(canvas)


def _axes(x: str, y: str, height: float = 3.4) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(5.2, height), layout="constrained")
    FigureCanvasSVG(canvas)
    axes = canvas.subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.tick_params(length=0)
    return canvas, axes


def _svg(canvas: Canvas) -> str:
    text = io.StringIO()
    canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    drawn = text.getvalue()[text.getvalue().index("<svg") :]
    without_metadata = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    # Links to the SVG and XLink name spaces are names, not addresses; inside HTML they are not needed.
    bare = re.sub(r' xmlns(:\w+)?="[^"]*"', "", without_metadata, count=2)
    return bare.replace("xlink:href", "href").replace("<svg ", '<svg role="img" ', 1)
