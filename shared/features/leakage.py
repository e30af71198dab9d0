"""Guards against leaks: each refuses one way in which the future, the label or the test rows reach a model.

Each costs a pass or two over the data; what passes is not proven clean, only clean of these leaks.
"""

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from pyspark.ml import Estimator, Model, Pipeline, PipelineModel, Transformer
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from shared.core.errors import DataError
from shared.features.point_in_time import MICROS_PER_DAY, utc_micros
from shared.features.single_auc import single_auc

_TOLERANCE: Final = 1e-9

# What Spark's own feature models learn, by the name under which they show it.
_LEARNED: Final = (
    *("surrogateDF", "mean", "std", "median", "range", "originalMin", "originalMax", "maxAbs"),
    *("labelsArray", "categorySizes", "vocabulary", "idf", "pc", "selectedFeatures"),
)

Fit: TypeAlias = "Estimator[Any] | Callable[[DataFrame], Transformer | Sequence[Transformer]]"


def check_time(
    earlier: DataFrame, later: DataFrame, *, time: str, known: str | None = None, outcome_days: int = 0
) -> None:
    """Refuse training rows that are not before the later rows, or whose outcome was not known when those begin.

    Args:
        earlier: training rows.
        later: validation or test rows.
        time: column of both: when the prediction is made (date, at 00:00 UTC, or timestamp). Rows without one are left
            out, but a part that has none at all cannot be vouched for and is refused.
        known: column of ``earlier``: when the outcome is known, i.e. the first moment after it. At most the first
            ``time`` of ``later``.
        outcome_days: instead of ``known``, the outcome is known so many days after ``time``.

    Raises:
        DataError: LEAK_TIME_OVERLAP; LEAK_TIME_UNKNOWN when a part has no time, or the earlier no ``known``.
    """
    known_at = utc_micros(earlier, known) if known else utc_micros(earlier, time) + outcome_days * MICROS_PER_DAY
    last = earlier.agg(F.max(utc_micros(earlier, time)).alias("made"), F.max(known_at).alias("known")).collect()[0]
    first = later.agg(F.min(utc_micros(later, time)).alias("made")).collect()[0]["made"]
    if None in (last["made"], last["known"], first):
        raise DataError(
            "LEAK_TIME_UNKNOWN",
            f"Training rows reach {_moment(last['made'])}, their outcomes are known by {_moment(last['known'])}, "
            f"the rows to predict begin {_moment(first)}.",
            "A time for each.",
            f"Fill {time}{f' and {known}' if known else ''}, or split by group.",
        )
    begin = _moment(first)
    if last["made"] >= first:
        found = f"Training rows reach {_moment(last['made'])}, but the rows to predict begin {begin}."
    elif last["known"] > first:
        found = f"Training outcomes are known by {_moment(last['known'])}, after the rows to predict begin {begin}."
    else:
        return
    raise DataError(
        "LEAK_TIME_OVERLAP",
        found,
        f"Every training outcome known by the first {time} of the others.",
        "Split by time with a gap as long as the outcome takes.",
    )


def check_groups(train: DataFrame, test: DataFrame, *, group: str) -> None:
    """Refuse a group (customer, patient, engine) that is in both parts.

    Raises:
        DataError: LEAK_GROUP_OVERLAP with the number of groups and two of them. Null is no group.
    """
    shared = train.select(group).distinct().join(test.select(group).distinct(), group)
    found = shared.agg(F.count("*"), F.min(group), F.max(group)).collect()[0]
    if found[0]:
        raise DataError(
            "LEAK_GROUP_OVERLAP",
            f"{found[0]:,} values of {group} are in both parts, e.g. {sorted({str(found[1]), str(found[2])})}.",
            "None.",
            f"Split by {group}.",
        )


def check_feature_times(rows: DataFrame, *, stamps: Sequence[str], cut: str) -> None:
    """Refuse rows with a feature that is stamped at or after the cut, the moment of prediction.

    Args:
        rows: rows with the columns.
        stamps: when each feature's newest event happened (date, at 00:00 UTC, or timestamp); null is no event.
        cut: the moment of the prediction. A stamp without a cut cannot be vouched for and is refused too.

    Raises:
        DataError: LEAK_FUTURE_FEATURE naming every such column with its rows.
    """
    if not stamps:
        return
    at = utc_micros(rows, cut)
    is_late = {name: F.coalesce(utc_micros(rows, name) >= at, F.col(name).isNotNull()) for name in stamps}
    late = rows.agg(*(F.count_if(is_late[name]).alias(name) for name in stamps)).collect()[0]
    found = {name: late[name] for name in stamps if late[name]}
    if found:
        raise DataError(
            "LEAK_FUTURE_FEATURE",
            f"Features stamped at or after {cut}: rows by column {found}.",
            f"Every stamp before {cut}.",
            "Build the feature as of the snapshot.",
        )


def check_single_features(
    rows: DataFrame, *, numeric: Sequence[str], categorical: Sequence[str], label: str, max_auc: float = 0.995
) -> dict[str, float]:
    """Refuse a single feature that all but is the label, and return the `single_auc` of each.

    Args:
        rows: training rows; those whose label is null are left out.
        numeric: numbers, booleans, dates or timestamps; null and NaN are missing.
        categorical: anything that can be text; null is missing.
        label: 0 or 1.
        max_auc: features above are refused.

    Raises:
        DataError: LEAK_LABEL_IN_DISGUISE naming each such feature and its AUC; LABEL_ONE_CLASS when no pair to rank.
    """
    found = single_auc(rows, numeric=numeric, categorical=categorical, label=label)
    leaks = {name: round(auc, 4) for name, auc in sorted(found.items()) if auc > max_auc}
    if leaks:
        raise DataError(
            "LEAK_LABEL_IN_DISGUISE",
            f"Single features rank the label almost perfectly, AUC {leaks}.",
            f"At most {max_auc}.",
            "Leave the feature out, or find out how it comes to know the outcome.",
        )
    return found


def fingerprint(rows: DataFrame, key: str | Sequence[str]) -> str:
    """Return a short text that says which rows these are, in any order: their number and the sum of their keys' hashes.

    Record it beside a model when it is fitted, e.g. as a tag; `check_fitted_on` compares it. Rows are told apart by
    ``key`` alone, taken as text; their other columns do not matter.
    """
    keys = [key] if isinstance(key, str) else list(key)
    hashed = F.xxhash64(*(F.col(name).cast("string") for name in keys)).cast("decimal(20,0)")
    total = F.coalesce(F.sum(hashed), F.lit(0)).cast("string")
    return str(rows.agg(F.concat_ws(":", F.count("*").cast("string"), total)).collect()[0][0])


def check_fitted_on(recorded: str, train: DataFrame, *, key: str | Sequence[str]) -> None:
    """Refuse a model that was fitted on other rows than the training rows; for any model, predictors included.

    Args:
        recorded: the `fingerprint` of the rows it was fitted on, taken then.
        train: the training rows.
        key: as for `fingerprint`.

    Raises:
        DataError: LEAK_FITTED_ON_TEST.
    """
    now = fingerprint(train, key)
    if recorded != now:
        raise DataError(
            "LEAK_FITTED_ON_TEST",
            f"The model was fitted on other rows than the training rows: {recorded}.",
            f"{now} (number of rows and sum of hashed keys).",
            "Fit it on the training rows, after the split.",
        )


def check_fit(fit: Fit, fitted: Transformer | Sequence[Transformer], train: DataFrame) -> None:
    """Refuse transforms that have learned anything from other rows than the training rows.

    They are fitted again on ``train`` and must have learned the same: statistics, levels, knots, to a relative 1e-9.
    So a scaler or imputer that saw test rows is found even where it makes no difference to a training row. A model
    that does not show what it learned (`TargetEncoder`) is compared by what it makes of the training rows.

    Args:
        fit: what was fitted: an estimator, or a function from rows to fitted stages. Of a `Pipeline` the stages before
            the first predictor are fitted; for the predictor there is `check_fitted_on`.
        fitted: the transforms in use.
        train: the training rows, with what ``fit`` reads.

    Raises:
        DataError: LEAK_FITTED_ON_TEST naming the stage, what differs and both values.
    """
    again = _stages(_fit_transforms(fit, train))
    used = _stages(fitted)[: len(again)]
    if [type(stage) for stage in used] != [type(stage) for stage in again]:
        names = [[type(stage).__name__ for stage in stages] for stages in (used, again)]
        raise DataError("LEAK_FITTED_ON_TEST", f"The stages are {names[0]}.", f"As fitted on train: {names[1]}.")
    rows = train
    for ours, theirs in zip(again, used, strict=True):
        expected, found = _learned(ours), _learned(theirs)
        differing = [name for name in expected if not _is_same(expected[name], found.get(name))]
        if differing:
            name = differing[0]
            _refuse_fit(theirs, f"{name} is {_short(found.get(name))}", _short(expected[name]))
        if isinstance(ours, Model) and not any(hasattr(ours, name) for name in _LEARNED):
            counts = _differing_rows(ours, theirs, rows)
            if counts:
                _refuse_fit(theirs, f"its outputs differ in rows by column {counts}", "No difference")
        rows = ours.transform(rows)


def _refuse_fit(stage: Transformer, found: str, expected: str) -> None:
    raise DataError(
        "LEAK_FITTED_ON_TEST",
        f"{type(stage).__name__} was not fitted on the training rows alone: {found}.",
        f"{expected}.",
        "Fit it after the split, on training rows.",
    )


def _moment(micros: int | None) -> str:
    return "(no time)" if micros is None else str(datetime(1970, 1, 1) + timedelta(microseconds=micros))


def _fit_transforms(fit: Fit, train: DataFrame) -> Transformer | Sequence[Transformer]:
    if isinstance(fit, Pipeline):
        stages = fit.getStages()
        predictors = [place for place, stage in enumerate(stages) if stage.hasParam("predictionCol")]
        return Pipeline(stages=stages[: predictors[0]] if predictors else stages).fit(train)
    return fit.fit(train) if isinstance(fit, Estimator) else fit(train)


def _stages(fitted: Transformer | Sequence[Transformer]) -> list[Transformer]:
    if isinstance(fitted, PipelineModel):
        return _stages(fitted.stages)
    if isinstance(fitted, Transformer):
        return [fitted]
    return [inner for stage in fitted for inner in _stages(stage)]


def _learned(stage: Transformer) -> dict[str, Any]:
    """Return what a stage learned and how it is set, as plain values; names made of its uid are left out."""
    settings = {param.name: value for param, value in stage.extractParamMap().items() if stage.uid not in str(value)}
    return {name: _plain(getattr(stage, name)) for name in _LEARNED if hasattr(stage, name)} | settings


def _plain(value: Any) -> Any:
    if isinstance(value, DataFrame):  # one row of surrogates
        return [list(row) for row in value.collect()]
    if hasattr(value, "toArray"):
        return value.toArray().ravel().tolist()
    return value


def _is_same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        both_nan = math.isnan(left) and math.isnan(right)
        return both_nan or math.isclose(left, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE**2)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_is_same, left, right))
    return bool(left == right)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _differing_rows(ours: Transformer, theirs: Transformer, rows: DataFrame) -> dict[str, int]:
    """Return, for each column two transforms add to rows, in how many rows they disagree."""
    made = theirs.transform(rows)
    names = [name for name in made.columns if name not in rows.columns]
    both = ours.transform(made.withColumnsRenamed({name: f"_used_{name}" for name in names}))
    if not names:
        return {}
    kinds = dict(both.dtypes)
    differing = [F.count_if(_differs(name, f"_used_{name}", kinds[name])).alias(name) for name in names]
    counts = both.agg(*differing).collect()[0]
    return {name: counts[name] for name in names if counts[name]}


def _differs(left: str, right: str, kind: str) -> Column:
    if kind == "vector":
        pairs = F.arrays_zip(vector_to_array(F.col(left)).alias("a"), vector_to_array(F.col(right)).alias("b"))
        return F.exists(pairs, lambda pair: _is_far(pair["a"], pair["b"]))
    if kind in ("double", "float"):
        return _is_far(F.col(left), F.col(right))
    return ~F.col(left).eqNullSafe(F.col(right))


def _is_far(left: Column, right: Column) -> Column:
    # Spark's NaN is the greatest number: with the lesser of the two on the right, NaN or infinity on one side is far.
    size = F.greatest(F.least(F.abs(left), F.abs(right)), F.lit(1.0))
    is_apart = F.coalesce(F.abs(left - right) >= _TOLERANCE * size, F.lit(True))
    return ~left.eqNullSafe(right) & is_apart
