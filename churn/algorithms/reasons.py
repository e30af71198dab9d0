"""Why a customer has a score: signed contributions of the features, for any fitted model.

The contribution of a feature is the change of the log-odds when its value is put in place of the training set's typical
one (median or most frequent level), the other features as they are. For a linear model that is coefficient times
distance from the median; where features are correlated, each shows only what it adds alone.
"""

import json
from collections.abc import Collection, Mapping, Sequence

from pyspark.ml import Transformer
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn.algorithms.candidates import PROBABILITY, Inputs
from shared.core.parallel import spread
from shared.evaluation.calibration import log_odds
from shared.features.tf_idf import WORDS

CHANGED = "_changed"
_CLEAR = 0.5  # three quarters of what a feature contributes go one way


def typical_values(train: DataFrame, inputs: Inputs) -> dict[str, float | str | list[str] | None]:
    """Return the median of every numeric and the most frequent level of every categorical feature (ties: the least).

    The typical text is none.
    """
    medians = [F.percentile_approx(F.col(name).cast("double"), 0.5, 10_000).alias(name) for name in inputs.numeric]
    levels = [F.mode(F.col(name), deterministic=True).alias(name) for name in inputs.categorical]
    row = train.agg(*medians, *levels).first()
    return {**(row.asDict() if row else {}), **{name: [] for name in inputs.text}}


def with_contributions(
    rows: DataFrame, model: Transformer, inputs: Inputs, typical: Mapping[str, object], *, key: Sequence[str]
) -> DataFrame:
    """Add `probability` and `contributions`, an array of (feature, value, contribution) with the largest first.

    Features that have the typical value are left out: they contribute nothing. The model scores one row for each
    feature that differs. The value of a text is its words.

    Args:
        rows: rows with the feature columns; read twice.
        model: adds `probability` and keeps the columns of ``key`` and `CHANGED`.
        inputs: the feature columns.
        typical: from `typical_values`.
        key: columns that tell rows apart; null is a value like any other.
    """
    kinds = dict(rows.dtypes)
    usual = {name: F.lit(typical[name]).cast(kinds[name]) for name in inputs.names}
    differing = [F.when(~F.col(name).eqNullSafe(value), F.lit(i)) for i, (name, value) in enumerate(usual.items())]
    variants = F.array_compact(F.array(F.lit(-1), *differing))
    exploded = spread(rows, *key).withColumn(CHANGED, F.explode(variants))
    changed = exploded.withColumns(
        {
            name: F.when(F.col(CHANGED) == i, value).otherwise(F.col(name))
            for i, (name, value) in enumerate(usual.items())
        }
    )
    scored = model.transform(changed).select(*key, CHANGED, PROBABILITY)
    whole = F.max(F.when(F.col(CHANGED) == -1, F.col(PROBABILITY)))
    without = F.collect_list(F.when(F.col(CHANGED) >= 0, F.struct(CHANGED, PROBABILITY)))
    own = {name: f"_key_{name}" for name in key}
    grouped = scored.groupBy(*key).agg(whole.alias(PROBABILITY), without.alias("_without")).withColumnsRenamed(own)
    names = F.array(*(F.lit(name) for name in inputs.names))
    values = F.array(*(_shown(name, kinds[name]) for name in inputs.names))
    contributions = F.transform(
        "_without",
        lambda item: F.struct(
            F.get(names, item[CHANGED]).alias("feature"),
            F.get(F.col("_values"), item[CHANGED]).alias("value"),
            F.round(log_odds(F.col(PROBABILITY)) - log_odds(item[PROBABILITY]), 6).alias("contribution"),
        ),
    )
    ordered = F.array_sort(contributions, _larger_first)
    is_same = [F.col(name).eqNullSafe(F.col(copy)) for name, copy in own.items()]
    joined = rows.withColumn("_values", values).join(grouped, is_same)
    return joined.withColumn("contributions", ordered).drop("_without", "_values", *own.values())


def mean_absolute(contributed: DataFrame, inputs: Inputs) -> list[tuple[str, float]]:
    """Return each feature with its mean absolute contribution over all rows, largest first."""
    row = contributed.agg(*(F.avg(_size_of(name)).alias(name) for name in inputs.names)).first()
    found = row.asDict() if row else {}
    return sorted(((name, value or 0.0) for name, value in found.items()), key=lambda pair: (-pair[1], pair[0]))


def directions(reasons: DataFrame, typical: Mapping[str, float | None], texts: Collection[str] = ()) -> dict[str, str]:
    """Return which way features move the score, judged by reasons that were given; a feature without a clear way is absent.

    Args:
        reasons: feature, value as text and contribution, as scoring writes them.
        typical: the values that numeric features were compared with; of any other feature it is the level that
            contributes most, in sum, or the word that does, over the root of its rows, which raises or lowers the risk.
        texts: the features that are texts.
    """
    usual = F.from_json(F.lit(json.dumps(dict(typical))), "map<string,double>")[F.col("feature")]
    along = F.signum(F.col("value").try_cast("double") - usual) * F.col("contribution")
    told = F.coalesce("value", F.lit("no value"))
    is_text = F.col("feature").isin(*texts)
    words = F.when(is_text, F.array_distinct(F.split(told, " "))).otherwise(F.array(told))
    level = F.when(~F.col("feature").isin(*typical), F.col("word"))
    of_level = reasons.withColumn("word", F.explode(words)).groupBy("feature", level.alias("level"))
    pushed = of_level.agg(
        F.sum(along).alias("along"),
        F.sum("contribution").alias("sum"),
        F.sum(F.abs("contribution")).alias("size"),
        F.count("*").alias("rows"),
    )
    moved = F.when(F.col("level").isNull(), F.col("along")).otherwise(F.col("sum"))
    is_clear = F.abs(moved) > _CLEAR * F.col("size")
    # By the root of its rows: a greeting stands in every text, those that move the score too.
    often = F.when(is_text, F.sqrt("rows")).otherwise(1.0)
    strongest = F.max_by(F.struct("level", moved.alias("moved")), F.struct(F.abs("sum") / often, F.col("level")))
    found: dict[str, str] = {}
    for row in pushed.where(is_clear).groupBy("feature").agg(strongest.alias("of")).orderBy("feature").collect():
        feature, (level, most) = row["feature"], row["of"]
        what = "more" if level is None else f"the word {level}" if feature in texts else level
        found[feature] = f"{what} {'raises' if most > 0 else 'lowers'} the risk"
    return found


def _size_of(name: str) -> Column:
    own = F.filter("contributions", lambda item: item["feature"] == name)
    return F.aggregate(own, F.lit(0.0), lambda sofar, item: sofar + F.abs(item["contribution"]))


def _shown(name: str, kind: str) -> Column:
    return F.array_join(name, " ") if kind == WORDS else F.col(name).cast("string")


def _larger_first(left: Column, right: Column) -> Column:
    by_size = F.abs(right["contribution"]) - F.abs(left["contribution"])
    by_name = F.when(left["feature"] < right["feature"], -1).otherwise(1)
    return F.when(by_size == 0, by_name).otherwise(F.signum(by_size)).cast("int")
