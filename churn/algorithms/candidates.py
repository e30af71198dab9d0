"""The candidate models, as lists of Spark's own fitted stages that end in a column `probability`.

A stage list is fitted on training rows only and may be put after any preparation; scores are probabilities, never 0/1.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

from pyspark.ml import Estimator, PipelineModel, Transformer
from pyspark.ml.classification import GBTClassifier, LogisticRegression, RandomForestClassifier
from pyspark.ml.feature import Imputer, SQLTransformer, StringIndexerModel, VectorAssembler
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn.config import ModelConfig
from shared.core.errors import DataError
from shared.core.parallel import in_parallel
from shared.features import encoding
from shared.features.basis import HingeBasis
from shared.features.imputation import MissingFlags
from shared.features.split import SPLIT
from shared.features.sql_steps import adding, replacing
from shared.features.tf_idf import WORDS, tf_idf

LABEL = "label"
WEIGHT = "_weight"
PROBABILITY = "probability"
_LINEAR = "_linear"
_TREE = "_tree"
_BINS = 64


@dataclass(frozen=True)
class Inputs:
    """Names of the feature columns.

    Args:
        numeric: doubles and integers; null means unknown.
        categorical: strings; null and unseen values share one level.
        text: arrays of words, as `shared.features.tf_idf.words_of` makes them; empty where nothing was written.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    text: tuple[str, ...] = ()

    @classmethod
    def of(cls, recorded: Mapping[str, Sequence[str]]) -> "Inputs":
        """Return the inputs that a training run recorded."""
        return cls(**{kind: tuple(names) for kind, names in recorded.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, numeric first."""
        return self.numeric + self.categorical + self.text

    def without(self, dropped: Container[str]) -> "Inputs":
        """Return those that are not ``dropped``."""
        return Inputs(
            **{kind: tuple(name for name in names if name not in dropped) for kind, names in asdict(self).items()}
        )


def inputs_of(features: DataFrame, excluded: Sequence[str]) -> Inputs:
    """Return the feature columns of a table: strings are categorical, arrays of strings text, the rest numeric."""
    kinds = [(name, kind) for name, kind in features.dtypes if name not in excluded]
    return Inputs(
        numeric=tuple(name for name, kind in kinds if kind not in ("string", WORDS)),
        categorical=tuple(name for name, kind in kinds if kind == "string"),
        text=tuple(name for name, kind in kinds if kind == WORDS),
    )


def fit_preparation(train: DataFrame, inputs: Inputs, config: ModelConfig) -> list[Transformer]:
    """Fit what turns feature columns into the two vectors the models read.

    Numeric nulls become the median and a flag column; the linear vector also gets hinges for each numeric column, which
    is what lets a logistic regression bend, and the TF-IDF of words. Levels of categorical columns become 0/1 columns.

    Args:
        train: training rows only; where they say so in a column ``split``, others are refused.
        inputs: the feature columns.
        config: how many hinges and words.

    Raises:
        DataError: LEAK_FITTED_ON_TEST.
    """
    _refuse_other_parts(train)
    steps = _Fitted(train)
    # Prefixed, so that a feature called `linear` or `forest` does not meet the columns the models make.
    filled = [f"_x_{name}" for name in inputs.numeric]
    steps.add(adding(f"CAST(`{name}` AS DOUBLE) AS `{own}`" for name, own in zip(inputs.numeric, filled, strict=True)))
    flags = steps.add(MissingFlags(inputCols=filled))
    hinges: list[str] = []
    if filled:
        steps.add(Imputer(strategy="median", inputCols=filled, outputCols=filled))
        hinges = steps.add(HingeBasis(inputCols=filled, knots=config.knots))
    onehot = [f"_x_{name}__is" for name in inputs.categorical]
    indexed = [f"_x_{name}__index" for name in inputs.categorical]
    if onehot:
        steps.add(encoding.indexer(inputs.categorical, indexed))
        steps.add(encoding.one_hot(indexed, onehot))
    worded = [f"_x_{name}__words" for name in inputs.text]
    for name, own in zip(inputs.text, worded, strict=True):
        for stage in tf_idf(name, own, vocabulary=config.vocabulary, min_rows=config.min_word_rows):
            steps.add(stage)
    steps.add(VectorAssembler(inputCols=[*filled, *flags, *hinges, *onehot, *worded], outputCol=_LINEAR))
    # Trees split an indexed column by sets of levels, which 0/1 columns would only allow one level at a time.
    steps.add(VectorAssembler(inputCols=[*filled, *flags, *indexed], outputCol=_TREE))
    return steps.stages


def _refuse_other_parts(train: DataFrame) -> None:
    # By what each row says of itself, whoever calls this with whatever he takes for training rows.
    others = train.where(f"{SPLIT} <> 'train'").groupBy(SPLIT).count().collect() if SPLIT in train.columns else []
    if others:
        raise DataError(
            "LEAK_FITTED_ON_TEST",
            f"The preparation was to be fitted on rows of {dict(sorted((row[SPLIT], row['count']) for row in others))} too.",
            "Rows of split train alone.",
            "Fit it after the split, on training rows.",
        )


def levels_of(preparation: Sequence[Transformer]) -> int:
    """Return the most levels that a categorical feature has in a fitted preparation; 0 without such features."""
    indexers = [stage for stage in preparation if isinstance(stage, StringIndexerModel)]
    return max((len(labels) for indexer in indexers for labels in indexer.labelsArray), default=0)


def for_models(prepared: DataFrame) -> DataFrame:
    """Return the label and the two vectors, all that the candidates read."""
    return prepared.select(LABEL, _LINEAR, _TREE)


def fit_candidates(prepared: DataFrame, config: ModelConfig, levels: int, seed: int) -> dict[str, list[Transformer]]:
    """Fit the candidates of ``config`` on prepared training rows.

    Args:
        prepared: training rows with the two vectors.
        config: which candidates, and their size.
        levels: the most levels a categorical feature has, from `levels_of`.
        seed: of the trees.

    Returns:
        per candidate its stages, the last of which writes `probability`; the blend's are those of all the others.
    """
    weighted = prepared.withColumn(WEIGHT, F.when(F.col(LABEL) == 1, config.positive_weight).otherwise(1.0))
    singles: list[str] = [name for name in config.candidates if name != "blend"]
    fits = [partial(_estimator(name, config, levels, seed).fit, weighted) for name in singles]
    models = dict(zip(singles, in_parallel(prepared.sparkSession, fits), strict=True))
    stages = {name: [models[name], _probability_of(name)] for name in singles}
    candidates = {name: [*stages[name], _mean([name])] for name in singles}
    if "blend" in config.candidates and len(singles) > 1:
        candidates["blend"] = [*(stage for name in singles for stage in stages[name]), _mean(singles)]
    return candidates


def finished(stages: Sequence[Transformer], workings: Sequence[str]) -> PipelineModel:
    """Return the stages as one model that adds `probability` and drops the columns ``workings`` it made on the way."""
    return PipelineModel([*stages, replacing(workings)])


class _Fitted:
    """Fits stages one after the other, each on what the ones before it made."""

    def __init__(self, rows: DataFrame) -> None:
        self.rows = rows
        self.stages: list[Transformer] = []

    def add(self, stage: Estimator | Transformer) -> list[str]:
        """Return the names of the columns that the stage added."""
        fitted = stage.fit(self.rows) if isinstance(stage, Estimator) else stage
        before, self.rows = set(self.rows.columns), fitted.transform(self.rows)
        self.stages.append(fitted)
        return [name for name in self.rows.columns if name not in before]


def _estimator(name: str, config: ModelConfig, levels: int, seed: int) -> Estimator:
    trees: dict[str, Any] = {"minInstancesPerNode": config.tree_leaf, "maxBins": max(_BINS, levels + 2), "seed": seed}
    estimator: Any
    match name:
        case "logistic":
            estimator = LogisticRegression(featuresCol=_LINEAR, regParam=config.logistic_penalty, maxIter=100, tol=1e-5)
        case "forest":
            estimator = RandomForestClassifier(
                featuresCol=_TREE, numTrees=config.forest_trees, maxDepth=config.forest_depth, **trees
            )
        case _:
            estimator = GBTClassifier(
                featuresCol=_TREE,
                maxIter=config.boosted_trees,
                maxDepth=config.boosted_depth,
                stepSize=config.boosted_step,
                **trees,
            )
    estimator.setLabelCol(LABEL).setWeightCol(WEIGHT).setPredictionCol(f"_{name}__class")
    estimator.setProbabilityCol(f"_{name}__vector").setRawPredictionCol(f"_{name}__raw")
    return cast(Estimator, estimator)


def _probability_of(name: str) -> SQLTransformer:
    # A vector cannot be indexed in SQL; its text can, and Java writes doubles so that they read back exactly.
    text = f"split(CAST(`_{name}__vector` AS STRING), '[\\\\[,\\\\]]')[2]"
    return adding([f"CAST({text} AS DOUBLE) AS `_{name}`"])


def _mean(names: Sequence[str]) -> SQLTransformer:
    total = " + ".join(f"`_{name}`" for name in names)
    return adding([f"({total}) / {len(names)}.0D AS `{PROBABILITY}`"])
