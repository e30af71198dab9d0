"""Guards against leaks: each refuses one way in which the future, the label or the test rows reach a model.

Each costs a pass or two over the data; what passes is not proven clean, only clean of these leaks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from pyspark.ml import Estimator, Model, Pipeline, PipelineModel, Transformer
from pyspark.ml.feature import Bucketizer
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from shared.core.errors import DataError
from shared.features.point_in_time import MICROS_PER_DAY, utc_micros

_QUANTILES: Final = 200
_LEVEL_BUCKETS: Final = 1_000
_MISSING: Final = -1
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
        time: column of both: when the prediction is made (date, at 00:00 UTC, or timestamp). Null times are left out.
        known: column of ``earlier``: when the outcome is known, i.e. the first moment after it. At most the first
            ``time`` of ``later``.
        outcome_days: instead of ``known``, the outcome is known so many days after ``time``.

    Raises:
        DataError: LEAK_TIME_OVERLAP.
    """
    known_at = utc_micros(earlier, known) if known else utc_micros(earlier, time) + outcome_days * MICROS_PER_DAY
    last = earlier.agg(F.max(utc_micros(earlier, time)).alias("made"), F.max(known_at).alias("known")).collect()[0]
    first = later.agg(F.min(utc_micros(later, time)).alias("made")).collect()[0]["made"]
    if last["made"] is None or first is None:
        return
    begin = _moment(first)
    if last["made"] >= first:
        found = f"Training rows reach {_moment(last['made'])}, but the rows to predict begin {begin}."
    elif last["known"] is not None and last["known"] > first:
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
    """Refuse a single feature that all but is the label, and return the AUC of each.

    The AUC (chance that a positive ranks above a negative, ties half) is the greatest of: a numeric feature ranked by
    value, up or down, with missing values first or last; and any feature ranked by the rate of positives among the
    *other* rows of its bin (leave one out, so that an id, whose bins are single rows, earns nothing). That finds a
    value in the middle, a level, or missingness that gives the label away.

    Bins are the values themselves where a number has at most 200 of them, else 200 quantiles, a frequent value always
    alone: a perfect feature scores at least 0.9975. Levels are hashed into 1,000 bins, whose counts are collected.

    Args:
        rows: training rows; those whose label is null are left out.
        numeric: numbers, booleans, dates or timestamps; null and NaN are missing.
        categorical: anything that can be text; null is missing.
        label: 0 or 1.
        max_auc: features above are refused.

    Raises:
        DataError: LEAK_LABEL_IN_DISGUISE naming each such feature and its AUC; LABEL_ONE_CLASS when no pair to rank.
    """
    names = [*numeric, *categorical]
    if not names:
        return {}
    bins = _with_bins(rows.where(F.col(label).isNotNull()), numeric, categorical, label)
    counts = _counts_by_bin(bins, names)
    found = {name: _single_auc(counts[name], is_ordered=name in numeric) for name in names}
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


def _moment(micros: int) -> str:
    return str(datetime(1970, 1, 1) + timedelta(microseconds=micros))


def _with_bins(rows: DataFrame, numeric: Sequence[str], categorical: Sequence[str], label: str) -> DataFrame:
    """Return ``_is_positive`` and one column ``_bin_<feature>`` for each feature; missing is a bin of its own."""
    numbers = {f"_number_{name}": _number(rows, name) for name in numeric}
    levels = {f"_bin_{name}": _level(name) for name in categorical}
    chosen = {"_is_positive": F.col(label).cast("int"), **numbers, **levels}
    binned = rows.select(*(column.alias(name) for name, column in chosen.items()))
    if not numeric:
        return binned
    shares = [step / _QUANTILES for step in range(_QUANTILES + 1)]
    quantiles = binned.agg(*(F.percentile_approx(name, shares, 10_000).alias(name) for name in numbers)).collect()[0]
    buckets = [f"_bucket_{name}" for name in numeric]
    splits = [_splits(quantiles[name] or ()) for name in numbers]
    bucketed = Bucketizer(
        splitsArray=splits, inputCols=list(numbers), outputCols=buckets, handleInvalid="keep"
    ).transform(binned)
    return bucketed.withColumns(
        {
            f"_bin_{name}": F.when(F.col(f"_number_{name}").isNull(), _MISSING).otherwise(F.col(bucket).cast("int"))
            for name, bucket in zip(numeric, buckets, strict=True)
        }
    )


def _number(rows: DataFrame, name: str) -> Column:
    kind = rows.schema[name].dataType
    is_time = kind.typeName().startswith(("date", "timestamp"))
    value = (utc_micros(rows, name) if is_time else F.col(name)).cast("double")
    return F.when(~F.isnan(value), value)


def _level(name: str) -> Column:
    bucket = F.pmod(F.xxhash64(F.col(name).cast("string")), F.lit(_LEVEL_BUCKETS)).cast("int")
    return F.when(F.col(name).isNull(), _MISSING).otherwise(bucket)


def _splits(quantiles: Sequence[float]) -> list[float]:
    # A frequent value must not share its bin with rare ones: zero for all who stay, any amount for all who leave.
    points = {edge for value in quantiles for edge in (value, math.nextafter(value, math.inf))}
    finite = sorted(edge for edge in points if math.isfinite(edge))
    return [-math.inf, *(finite or [0.0]), math.inf]


def _counts_by_bin(binned: DataFrame, names: Sequence[str]) -> Mapping[str, dict[int, tuple[int, int]]]:
    """Return for each feature its bins with their numbers of positives and negatives."""
    pairs = [
        F.struct(F.lit(place).alias("place"), F.col(f"_bin_{name}").alias("bin")) for place, name in enumerate(names)
    ]
    each = binned.select("_is_positive", F.explode(F.array(*pairs)).alias("pair"))
    positives = F.count_if(F.col("_is_positive") == 1).alias("positives")
    counted = each.groupBy("pair.place", "pair.bin").agg(positives, F.count("*").alias("rows")).collect()
    counts: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in names}
    for row in counted:
        counts[names[row["place"]]][row["bin"]] = (row["positives"], row["rows"] - row["positives"])
    of_first = counts[names[0]].values()
    totals = [sum(pair[side] for pair in of_first) for side in (0, 1)]
    if not all(totals):
        raise DataError("LABEL_ONE_CLASS", f"There are {totals[0]} positive and {totals[1]} negative rows.", "Both.")
    return counts


def _single_auc(bins: Mapping[int, tuple[int, int]], *, is_ordered: bool) -> float:
    found = [_left_one_out_auc(bins)]
    if is_ordered:
        for place_of_missing in (-math.inf, math.inf):
            up = _auc([(place_of_missing if bin_ == _MISSING else bin_, *pair) for bin_, pair in bins.items()])
            found += [up, 1 - up]
    return max(found)


def _left_one_out_auc(bins: Mapping[int, tuple[int, int]]) -> float:
    """Return the AUC of bins ranked by the rate of positives among their other rows; pairs within a bin count half."""
    positives, negatives = (sum(pair[side] for pair in bins.values()) for side in (0, 1))
    prior = positives / (positives + negatives)
    scored = []
    for ups, downs in bins.values():
        others = ups + downs - 1
        scored.append(((ups - 1) / others if others else prior, ups, 0))
        scored.append((ups / others if others else prior, 0, downs))
    # Leaving itself out puts every positive below the negatives of its own bin: those pairs are all lost in `_auc`.
    within = sum(ups * downs for ups, downs in bins.values())
    return _auc(scored) + within / 2 / (positives * negatives)


def _auc(scored: Sequence[tuple[float, int, int]]) -> float:
    """Return the AUC of (score, positives, negatives); Mann & Whitney (1947), ties half."""
    positives, negatives = (sum(item[side] for item in scored) for side in (1, 2))
    tied: dict[float, list[int]] = {}
    for score, ups, downs in scored:
        at_score = tied.setdefault(score, [0, 0])
        at_score[0] += ups
        at_score[1] += downs
    won, below = 0.0, 0
    for _, (ups, downs) in sorted(tied.items()):
        won += ups * (below + downs / 2)
        below += downs
    return won / (positives * negatives)


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
        return F.exists(pairs, lambda pair: F.coalesce(_is_far(pair["a"], pair["b"]), F.lit(True)))
    if kind in ("double", "float"):
        return ~F.col(left).eqNullSafe(F.col(right)) & F.coalesce(_is_far(F.col(left), F.col(right)), F.lit(True))
    return ~F.col(left).eqNullSafe(F.col(right))


def _is_far(left: Column, right: Column) -> Column:
    return F.abs(left - right) > _TOLERANCE * F.greatest(F.abs(left), F.abs(right), F.lit(1.0))
