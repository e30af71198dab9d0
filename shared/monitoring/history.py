"""The tables that monitoring keeps: every window is computed once for a model and looked up afterwards.

Names of columns are close to those of Databricks' data profiling, so that one who knows it can read them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any, Final, NamedTuple

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shared.core import clock
from shared.delta.tables import TableRef, opened
from shared.delta.write import append_once
from shared.monitoring.drift import Drift
from shared.monitoring.profile import Profile

_OF_MODEL = (
    "model_name string, model_version int, model_run_id string, window string, run_id string, computed_ts timestamp"
)

PROFILE: Final = (
    f"{_OF_MODEL}, slice_key string, slice_value string, column_name string, count bigint, num_nulls bigint,"
    " percent_null double, avg double, stddev double, min double, max double, counts array<bigint>"
)
DRIFT: Final = (
    f"{_OF_MODEL}, drift_type string, compared_with string, slice_key string, slice_value string, column_name string,"
    " count bigint, reference_count bigint, population_stability_index double, js_distance double,"
    " total_variation_distance double, distance_margin double, ks_statistic double, ks_pvalue double, chi_squared_statistic double,"
    " chi_squared_pvalue double, avg_delta_stddevs double, percent_null_delta double, null_pvalue double, null_margin double,"
    " percent_unseen double, corrected_pvalue double, violation string, reason string"
)
PERFORMANCE: Final = (
    f"{_OF_MODEL}, count bigint, labelled_count bigint, labelled_share double, positives bigint, auc double, brier double,"
    " ece double, observed_rate double, predicted_rate double, chance double, reason string"
)
ALERTS: Final = f"{_OF_MODEL}, kind string, subject string, reason string"

_DRIFT_NAMES: Final = {
    "against": "drift_type",
    "column": "column_name",
    "rows": "count",
    "reference_rows": "reference_count",
    "psi": "population_stability_index",
    "total_variation": "total_variation_distance",
    "ks": "ks_statistic",
    "ks_p_value": "ks_pvalue",
    "chi_square": "chi_squared_statistic",
    "chi_square_p_value": "chi_squared_pvalue",
    "mean_change": "avg_delta_stddevs",
    "null_change": "percent_null_delta",
    "null_p_value": "null_pvalue",
    "unseen": "percent_unseen",
    "margin": "distance_margin",
    "p_value": "corrected_pvalue",
}


class ModelKey(NamedTuple):
    """Which model: registries count versions each for itself, the training run tells them apart.

    Args:
        name, version: as registered.
        run_id: MLflow's id of the run that trained it.
    """

    name: str
    version: int
    run_id: str


def profile_row(profile: Profile) -> dict[str, Any]:
    """Return the values of a row of the profile table, without those of the model."""
    return {
        "window": profile.window,
        "slice_key": profile.slice_key,
        "slice_value": profile.slice_value,
        "column_name": profile.column,
        "count": profile.rows,
        "num_nulls": profile.nulls,
        "percent_null": profile.nulls / profile.rows if profile.rows else None,
        "avg": profile.mean,
        "stddev": profile.deviation,
        "min": profile.least,
        "max": profile.greatest,
        "counts": list(profile.counts),
    }


def profile_of(row: Mapping[str, Any]) -> Profile:
    """Return the profile that `profile_row` wrote."""
    return Profile(
        row["window"],
        row["slice_key"],
        row["slice_value"],
        row["column_name"],
        row["count"],
        row["num_nulls"],
        tuple(row["counts"]),
        row["avg"],
        row["stddev"],
        row["min"],
        row["max"],
    )


def drift_row(drift: Drift) -> dict[str, Any]:
    """Return the values of a row of the drift table, without those of the model."""
    return {_DRIFT_NAMES.get(name, name): value for name, value in asdict(drift).items()}


def drift_of(row: Mapping[str, Any]) -> Drift:
    """Return the drift that `drift_row` wrote."""
    return Drift(**{name: row[_DRIFT_NAMES.get(name, name)] for name in Drift.__dataclass_fields__})


def append(
    spark: SparkSession,
    ref: TableRef,
    ddl: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    model: ModelKey,
    run_id: str,
    key: Iterable[str],
) -> None:
    """Append the rows of what is new for a model; the same ``key`` is appended once.

    Args:
        spark: the session.
        ref: the table; made when absent.
        ddl: its columns.
        rows: values by column; those of the model are added.
        model: the model.
        run_id: the run that computed them.
        key: what the rows are of, e.g. the windows.
    """
    if not rows:
        return
    names = [part.split()[0] for part in ddl.split(", ")]
    of_model = {
        "model_name": model.name,
        "model_version": model.version,
        "model_run_id": model.run_id,
        "run_id": run_id,
        "computed_ts": clock.utc_now(),
    }
    values = [tuple({**row, **of_model}.get(name) for name in names) for row in rows]
    of_key = sha256("\n".join(sorted(key)).encode()).hexdigest()
    append_once(
        spark.createDataFrame(values, ddl),
        ref,
        app_id=f"monitor:{':'.join(map(str, model))}:{of_key}",
        version=0,
        digest=of_key,  # of the key alone: the last digits of a sum depend on the order of Spark's tasks
        new_columns=("model_run_id",),
    )


def of_model(spark: SparkSession, ref: TableRef, model: ModelKey) -> list[dict[str, Any]]:
    """Return the rows of a model, by window and time of writing; some hundred for each window."""
    rows = opened(spark, ref)
    if rows is None or "model_run_id" not in rows.columns:
        return []
    rows = rows.where(
        (F.col("model_name") == model.name)
        & (F.col("model_version") == model.version)
        & (F.col("model_run_id") == model.run_id)
    )
    found = [row.asDict() for row in rows.collect()]
    return sorted(found, key=lambda row: (row["window"], row["computed_ts"], row["run_id"]))


def first_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that the first run wrote for each window; a second one, at the same time, said the same."""
    first: dict[str, str] = {}
    for row in rows:
        first.setdefault(row["window"], row["run_id"])
    return [row for row in rows if row["run_id"] == first[row["window"]]]
