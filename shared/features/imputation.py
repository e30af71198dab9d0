"""Values for what is missing: what Spark's own Imputer (mean, median, mode of numbers) lacks.

Whether a value was missing is often worth more than the value put there: keep it with `MissingFlags`, before. Fitted
steps are Spark's own stages, so a saved pipeline loads anywhere.
"""

from collections.abc import Sequence
from typing import Any, Final

from pyspark.ml import Estimator, Pipeline, PipelineModel, Transformer
from pyspark.ml.classification import DecisionTreeClassifier
from pyspark.ml.feature import Imputer, SQLTransformer, VectorAssembler
from pyspark.ml.regression import DecisionTreeRegressor
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from shared.core.columns import identifier
from shared.core.errors import DataError
from shared.delta.tables import literal
from shared.features.sql_steps import adding, replacing

_DEPTH, _LEAF = 5, 20
# The most classes that Spark's tree takes from a column it was not told of; more than the tree has leaves.
_LEVELS = 100
_WORKING: Final = "_imputing"
_VECTOR, _GUESS, _LEVEL = (f"{_WORKING}_{name}" for name in ("vector", "guess", "level"))


class MissingFlags(Estimator[SQLTransformer]):
    """Adds ``<name>__is_missing`` (1.0 or 0.0) for the columns in which the training rows have a null or NaN.

    Args:
        inputCols: columns of any type.
    """

    def __init__(self, inputCols: Sequence[str]) -> None:  # noqa: N803 - as in pyspark.ml
        super().__init__()
        self.input_columns = [identifier(name) for name in inputCols]

    def _fit(self, dataset: DataFrame) -> SQLTransformer:
        missing = {name: f"({_is_missing(dataset, name)})" for name in self.input_columns}
        if not missing:
            return adding([])
        counts = dataset.agg(*(F.count_if(F.expr(test)).alias(name) for name, test in missing.items())).collect()[0]
        flagged = [name for name in self.input_columns if counts[name]]
        return adding([f"CAST({missing[name]} AS DOUBLE) AS `{flag_of(name)}`" for name in flagged])


class ModeImputer(Estimator[SQLTransformer]):
    """Puts the most frequent value of the training rows in place of null, in columns of any type; ties take the least.

    Args:
        inputCols: columns; they keep their names and move to the end.

    Raises:
        DataError: a column has no value in the training rows.
    """

    def __init__(self, inputCols: Sequence[str]) -> None:  # noqa: N803 - as in pyspark.ml
        super().__init__()
        self.input_columns = [identifier(name) for name in inputCols]

    def _fit(self, dataset: DataFrame) -> SQLTransformer:
        modes = dataset.agg(*(F.mode(name, deterministic=True).alias(name) for name in self.input_columns)).collect()[0]
        empty = [name for name in self.input_columns if modes[name] is None]
        if empty:
            raise _nothing_to_learn_from(empty)
        filled = [f"coalesce(`{name}`, {literal(modes[name])}) AS `{name}`" for name in self.input_columns]
        return replacing(self.input_columns, filled)


class ModelImputer(Estimator[PipelineModel]):
    """Predicts a missing value from numeric columns, by a decision tree grown on the training rows that have the value.

    A number gets the mean of its leaf, a text the most frequent level of its leaf. Of a text with more than 100 levels the
    rarer ones are neither learned from nor guessed. Predictors that are missing themselves count as their mean.

    Args:
        inputCol: the column to fill; it keeps its name and moves to the end, a number becomes a double.
        predictors: numeric columns, without ``inputCol``.

    Raises:
        DataError: the column has no value in the training rows.
    """

    def __init__(self, inputCol: str, predictors: Sequence[str]) -> None:  # noqa: N803 - as in pyspark.ml
        super().__init__()
        self.input_column = identifier(inputCol)
        self.predictors = [identifier(name) for name in predictors]

    def _fit(self, dataset: DataFrame) -> PipelineModel:
        target, working = self.input_column, [f"{_WORKING}_{name}" for name in self.predictors]
        known = dataset.where(f"NOT ({_is_missing(dataset, target)})")
        if not known.take(1):
            raise _nothing_to_learn_from([target])
        reads = [f"CAST(`{name}` AS DOUBLE) AS `{own}`" for name, own in zip(self.predictors, working, strict=True)]
        is_text = dict(dataset.dtypes)[target] == "string"
        levels = _frequent_levels(known, target) if is_text else []
        if is_text:
            known = known.where(F.col(target).isin(levels))
        tree, guess = _text_tree(target, levels) if is_text else _number_tree(target)
        stages: list[Estimator[Any] | Transformer] = [
            adding(reads),
            Imputer(inputCols=working, outputCols=working),
            VectorAssembler(inputCols=working, outputCol=_VECTOR),
            *tree,
        ]
        fitted = Pipeline(stages=stages).fit(known)
        made = [name for name in fitted.transform(known.limit(0)).columns if name.startswith(_WORKING)]
        own = f"`{target}`" if is_text else f"CAST(`{target}` AS DOUBLE)"
        filled = f"IF({_is_missing(dataset, target)}, {guess}, {own}) AS `{target}`"
        return PipelineModel([*fitted.stages, replacing([target, *made], [filled])])


def flag_of(name: str) -> str:
    """Return the name of a column's flag.

    >>> flag_of("tenure")
    'tenure__is_missing'
    """
    return f"{name}__is_missing"


def _number_tree(target: str) -> tuple[list[Estimator[Any] | Transformer], str]:
    """Return the tree, and its guess as SQL."""
    tree = DecisionTreeRegressor(featuresCol=_VECTOR, labelCol=target, predictionCol=_GUESS)
    return [tree.setMaxDepth(_DEPTH).setMinInstancesPerNode(_LEAF)], f"`{_GUESS}`"


def _frequent_levels(known: DataFrame, target: str) -> list[str]:
    counted = known.groupBy(target).count().orderBy(F.desc("count"), target).limit(_LEVELS).collect()
    return [row[target] for row in counted]


def _text_tree(target: str, levels: Sequence[str]) -> tuple[list[Estimator[Any] | Transformer], str]:
    # The tree learns and guesses the places of the levels.
    listed = f"array({', '.join(literal(level) for level in levels)})"
    place = f"CAST(array_position({listed}, `{target}`) - 1 AS DOUBLE) AS `{_LEVEL}`"
    tree = DecisionTreeClassifier(
        featuresCol=_VECTOR, labelCol=_LEVEL, predictionCol=_GUESS, probabilityCol=f"{_WORKING}_probability"
    )
    tree = tree.setRawPredictionCol(f"{_WORKING}_raw").setMaxDepth(_DEPTH).setMinInstancesPerNode(_LEAF)
    return [adding([place]), tree], f"element_at({listed}, CAST(`{_GUESS}` AS INT) + 1)"


def _is_missing(rows: DataFrame, name: str) -> str:
    is_real = dict(rows.dtypes)[name] in ("double", "float")
    return f"`{name}` IS NULL" + (f" OR isnan(`{name}`)" if is_real else "")


def _nothing_to_learn_from(columns: Sequence[str]) -> DataError:
    return DataError(
        "IMPUTATION_EMPTY", f"Columns {columns} have no value in any training row.", "At least one.", "Leave them out."
    )
