"""The names of all figures that jobs export for Prometheus, and their text file.

A job ends before anybody can ask it, so it leaves a file for the textfile collector of node-exporter. No label carries an
id or a column: the history is in Delta, Prometheus holds what one alerts on.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from uuid import uuid4

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from shared.core.errors import EnvironmentProblem

PREFIX: Final = "accelerators_"

_GAUGES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "monitor_last_success_timestamp_seconds": ("When monitoring last measured.", ()),
    "monitor_window_timestamp_seconds": ("Start of the newest window; 0 for windows without a date.", ()),
    "monitor_window_rows": ("Rows of the newest window.", ()),
    "monitor_columns_drifted": ("Columns that violate in the newest window, without the prediction.", ()),
    "monitor_drift_distance_max": ("Largest distance of a column of the newest window, 0 to 1.", ()),
    "monitor_prediction_drift_distance": ("Distance of the predictions of the newest window, 0 to 1.", ()),
    "monitor_null_change_max": ("Largest rise of the share of rows without a value, 0 to 1.", ()),
    "monitor_alerts": ("Conditions that hold in the newest windows, by kind.", ("kind",)),
    "monitor_labelled_ratio": ("Share of labelled rows in the newest window with labels.", ()),
    "monitor_auc": ("AUC in the newest window with labels.", ()),
    "monitor_brier": ("Brier score in the newest window with labels.", ()),
    "monitor_ece": ("Calibration error in the newest window with labels.", ()),
    "monitor_rows_rejected_ratio": ("Share of rows put aside by the last ingestion, or on a stream's last day.", ()),
    "model_version": ("Version of the model that is watched.", ()),
}

NAMES: Final = tuple(PREFIX + name for name in _GAUGES)
"""Every name; each also has the label ``vertical``."""

Figures = Mapping[str, float | Mapping[str, float] | None]


def exposition(vertical: str, figures: Figures) -> bytes:
    """Return the figures in Prometheus' text format; a figure that is None is left out.

    Args:
        vertical: value of the label ``vertical``.
        figures: name without prefix → value, or value per value of its label.

    Raises:
        KeyError: a name is not declared here.
    """
    registry = CollectorRegistry()
    for name, value in figures.items():
        text, labels = _GAUGES[name]
        if value is None:
            continue
        gauge = Gauge(PREFIX + name, text, ("vertical", *labels), registry=registry)
        if isinstance(value, Mapping):
            for label, part in value.items():
                gauge.labels(vertical, label).set(part)
        else:
            gauge.labels(vertical).set(value)
    return generate_latest(registry)


def write_textfile(path: Path, text: bytes) -> None:
    """Replace the file in one move, as the collector may read at any time.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    # The collector reads all *.prom files, so the half-written one must not be called so.
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(text)
        os.chmod(temporary, 0o644)  # the collector is another user
        temporary.replace(path)
    except OSError as error:
        raise EnvironmentProblem(
            "TEXTFILE_NOT_WRITABLE", f"Cannot write {path}: {error.strerror}.", "", "Check monitoring.sinks.textfile."
        ) from error
    finally:
        if temporary.is_file():
            temporary.unlink()
