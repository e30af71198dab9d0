"""Which features to leave out, and why: every function returns the kept names and a reason for each other one.

Call them on training rows only, one after the other, each with what the one before kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pyspark.ml import Estimator, Pipeline, Transformer
from pyspark.ml.classification import RandomForestClassifier
from pyspark.ml.feature import Imputer, UnivariateFeatureSelector, VectorAssembler
from pyspark.ml.stat import Correlation
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType, StringType

from shared.core.columns import identifier
from shared.core.draws import Draw
from shared.features.encoding import indexer

_VECTOR: Final = "_vector"


@dataclass(frozen=True)
class Selection:
    """What a selection kept.

    Args:
        kept: names, in the order given.
        dropped: name → reason, for a reader.
    """

    kept: tuple[str, ...]
    dropped: Mapping[str, str]


def varying(
    rows: DataFrame,
    names: Sequence[str],
    *,
    min_variance: float = 0.0,
    max_levels: int | None = None,
) -> Selection:
    """Drop features without a value, with the same value in every row, with little variance, or with too many levels.

    A feature with one value and nulls beside it is kept: that it is missing may say something. One pass.

    Args:
        rows: training rows.
        names: features of any orderable type; booleans, numbers, texts, dates and timestamps.
        min_variance: numbers with a sample variance up to it are dropped.
        max_levels: texts with more different values (HyperLogLog, 5 % off) are dropped; None allows any number.
    """
    if not names:
        return Selection((), {})
    kinds = {field.name: field.dataType for field in rows.schema.fields}
    texts = [name for name in names if isinstance(kinds[name], StringType)]
    numbers = [name for name in names if isinstance(kinds[name], NumericType)]
    found = rows.agg(
        F.count("*").alias("_rows"),
        *(F.count(identifier(name)).alias(f"{name}__count") for name in names),
        *((F.min(name) == F.max(name)).alias(f"{name}__same") for name in names),
        *(F.var_samp(name).alias(f"{name}__variance") for name in numbers),
        *(F.approx_count_distinct(name).alias(f"{name}__levels") for name in texts),
    ).collect()[0]
    dropped: dict[str, str] = {}
    for name in names:
        count = found[f"{name}__count"]
        if not count:
            dropped[name] = "no value in any training row"
        elif found[f"{name}__same"] and count == found["_rows"]:
            dropped[name] = "the same value in every training row"
        elif name in texts and max_levels is not None and found[f"{name}__levels"] > max_levels:
            dropped[name] = f"more than {max_levels} levels"
        elif name in numbers and min_variance and (found[f"{name}__variance"] or 0.0) <= min_variance:
            dropped[name] = f"variance {found[f'{name}__variance'] or 0.0:.3g}, at most {min_variance:g}"
    return _without(names, dropped)


def worded(rows: DataFrame, names: Sequence[str], *, min_rows: int) -> Selection:
    """Drop texts without a word that is in at least ``min_rows`` rows: there is nothing to learn from.

    Args:
        rows: training rows.
        names: columns of words, from `shared.features.tf_idf.words_of`.
        min_rows: as for the vocabulary.
    """
    is_frequent = F.col("count") >= min_rows
    counts = {
        name: rows.select(F.explode(F.array_distinct(name)).alias("word")).groupBy("word").count() for name in names
    }
    without = [name for name, words in counts.items() if words.where(is_frequent).isEmpty()]
    return _without(names, dict.fromkeys(without, f"no word in {min_rows} training rows"))


def uncorrelated(
    rows: DataFrame,
    names: Sequence[str],
    *,
    max_correlation: float = 0.95,
    method: Literal["pearson", "spearman"] = "pearson",
) -> Selection:
    """Drop a numeric feature that goes with one named before it: order the names by preference.

    Args:
        rows: training rows; a null counts as the column's mean.
        names: numeric features; at least one value each.
        max_correlation: greatest absolute correlation that is kept.
        method: ``spearman`` sorts every column once.
    """
    if len(names) < 2:
        return Selection(tuple(names), {})
    vectors = _imputed(rows, names, "mean").select(_VECTOR)
    matrix = Correlation.corr(vectors, _VECTOR, method).collect()[0][0].toArray()
    dropped: dict[str, str] = {}
    kept: list[int] = []
    for place, name in enumerate(names):
        # A constant correlates with nothing: NaN compares false.
        close = [other for other in kept if abs(matrix[place, other]) > max_correlation]
        if close:
            nearest = max(close, key=lambda other: abs(matrix[place, other]))
            dropped[name] = f"{method} correlation {matrix[place, nearest]:.4f} with {names[nearest]}"
        else:
            kept.append(place)
    return _without(names, dropped)


def associated(
    rows: DataFrame,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    label: str,
    false_discoveries: float = 0.05,
) -> Selection:
    """Drop features that a single test does not link to the label: ANOVA F-test for numbers, chi-square for levels.

    Benjamini and Hochberg (1995) keep the share of chance finds among the kept at ``false_discoveries``, for the numbers and
    the levels each. A feature that only tells something together with another is dropped too.

    Args:
        rows: training rows with a label.
        numeric: numeric features; null counts as the median.
        categorical: text features; null is a level.
        label: 0 or 1.
        false_discoveries: between 0 and 1.
    """
    dropped: dict[str, str] = {}
    places = [f"_place_{name}" for name in categorical]
    if numeric:
        kept = _selected(_imputed(rows, numeric, "median"), "continuous", label, false_discoveries)
        reason = f"no link to the label (ANOVA F-test, false discoveries {false_discoveries:g})"
        dropped |= {name: reason for place, name in enumerate(numeric) if place not in kept}
    if categorical:
        stages: list[Estimator[Any] | Transformer] = [
            indexer(categorical, places),
            VectorAssembler(inputCols=places, outputCol=_VECTOR),
        ]
        kept = _selected(Pipeline(stages=stages).fit(rows).transform(rows), "categorical", label, false_discoveries)
        reason = f"no link to the label (chi-square test, false discoveries {false_discoveries:g})"
        dropped |= {name: reason for place, name in enumerate(categorical) if place not in kept}
    return _without([*numeric, *categorical], dropped)


def above_noise(
    rows: DataFrame,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    label: str,
    key: str | Sequence[str],
    seed: int,
    noise_columns: int = 3,
    trees: int = 50,
) -> Selection:
    """Drop features that a random forest uses no more than columns of pure noise put beside them.

    The forest draws its rows by partition, so that a feature near the bar may fall on either side of it when the rows
    lie otherwise.

    Args:
        rows: training rows with a label.
        numeric: numeric features; null counts as the median.
        categorical: text features of at most some hundred levels; null is a level.
        label: 0 or 1.
        key: what tells the rows apart, of which the noise is made; no feature.
        seed: of noise and trees.
        noise_columns: how many; the most important of them is the bar.
        trees: of the forest, depth 8.
    """
    names = [*numeric, *categorical]
    if not names:
        return Selection((), {})
    drawn = noise(key, seed=seed, columns=noise_columns)
    noisy = rows.withColumns(drawn)
    places = [f"_place_{name}" for name in categorical]
    if categorical:
        noisy = indexer(categorical, places).fit(noisy).transform(noisy)
    filled = _imputed(noisy, [*numeric, *drawn], "median", places)
    levels = filled.agg(*(F.max(place) for place in places)).collect()[0] if places else ()
    forest = RandomForestClassifier(featuresCol=_VECTOR, labelCol=label, numTrees=trees, maxDepth=8, seed=seed)
    forest = forest.setMaxBins(max([32, *(int(level) + 2 for level in levels)]))
    importance = forest.fit(filled).featureImportances.toArray()
    by_name = dict(zip([*numeric, *drawn, *categorical], importance, strict=True))
    bar = max(by_name[name] for name in drawn)
    dropped = {name: f"importance {by_name[name]:.4f}, noise has {bar:.4f}" for name in names if by_name[name] <= bar}
    return _without(names, dropped)


def noise(key: str | Sequence[str], *, seed: int, columns: int) -> dict[str, Column]:
    """Return columns of uniform numbers in [0, 1) by name: hashes of key and seed, however the rows lie on a cluster.

    Rows that share a key share their noise.
    """
    keys = [key] if isinstance(key, str) else key
    return {f"_noise_{place}": Draw(seed).uniform(f"noise {place}", *keys) for place in range(columns)}


def _without(names: Sequence[str], dropped: Mapping[str, str]) -> Selection:
    return Selection(tuple(name for name in names if name not in dropped), dict(dropped))


def _imputed(rows: DataFrame, numeric: Sequence[str], strategy: str, others: Sequence[str] = ()) -> DataFrame:
    """Add the vector of the numeric columns, without gaps, and of ``others`` as they are."""
    filled = [f"_filled_{name}" for name in numeric]
    typed = rows.withColumns(
        {own: F.col(identifier(name)).cast("double") for name, own in zip(numeric, filled, strict=True)}
    )
    if filled:
        typed = Imputer(strategy=strategy, inputCols=filled, outputCols=filled).fit(typed).transform(typed)
    return VectorAssembler(inputCols=[*filled, *others], outputCol=_VECTOR).transform(typed)


def _selected(rows: DataFrame, kind: str, label: str, threshold: float) -> set[int]:
    selector = UnivariateFeatureSelector(
        featuresCol=_VECTOR, outputCol="_selected", labelCol=label, selectionMode="fdr"
    )
    selector = selector.setFeatureType(kind).setLabelType("categorical").setSelectionThreshold(threshold)
    return set(selector.fit(rows).selectedFeatures)
