"""The search of each candidate over its own settings, by log loss on folds of the training rows.

A candidate does not know of the settings of another, so each is searched alone, and they share the budget. The blend has
none. The loss is that of the probabilities as the model gives them: calibration comes later, on validation rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, Final

from pyspark.ml import PipelineModel, Transformer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn.algorithms import candidates
from churn.algorithms.candidates import LABEL, PROBABILITY
from churn.config import ModelConfig, space_of
from shared.core.errors import DataError
from shared.core.parallel import in_parallel
from shared.evaluation.scored import scored
from shared.tuning.config import Budget, TuningConfig
from shared.tuning.folds import Fold
from shared.tuning.search import Search, search
from shared.tuning.space import Setting, Space
from shared.tuning.trials import Trials

METRIC: Final = "log_loss"

Prepare = Callable[[DataFrame, ModelConfig], list[Transformer]]
Kept = Callable[[str, Space, ModelConfig], Trials]


def tuned(
    spark: SparkSession,
    folds: Sequence[Fold],
    model: ModelConfig,
    tuning: TuningConfig,
    *,
    seed: int,
    prepare: Prepare,
    kept: Kept,
) -> tuple[ModelConfig, dict[str, Search]]:
    """Return ``model`` with the chosen settings in place of its own, and the search of each candidate that has one.

    Args:
        spark: the session.
        folds: of the training rows.
        model: the settings as configured: the first trial of each candidate.
        tuning: budget, method and space.
        seed: of proposals and trees.
        prepare: fits what comes before the models; called with the training rows of a fold alone.
        kept: returns where the trials of a candidate are kept, given its space and the settings beside it.

    Raises:
        DataError: FOLD_ONE_CLASS: a fold whose training rows all have one label.
    """
    spaces = {name: space_of(name, model, tuning.space) for name in model.candidates if name != "blend"}
    spaces = {name: space for name, space in spaces.items() if space.parameters}
    budget = Budget(tuning, len(spaces))
    found: dict[str, Search] = {}
    prepared = Prepared(folds, prepare, seed)
    for name, space in spaces.items():
        max_trials, deadline = budget.share()
        start = {setting: getattr(model, setting) for setting in space.parameters}
        found[name] = search(
            spark,
            space,
            partial(losses, spark, prepared, name, model),
            kept(name, space, model),
            start=start,
            tuning=tuning,
            seed=seed,
            max_trials=max_trials,
            deadline=deadline,
        )
        budget.spend(len(found[name].trials), found[name].seconds_before)
        if found[name].trials:
            model = with_setting(model, found[name].chosen.setting)
        prepared.forget(all_but=model.knots)
    prepared.forget()
    return model, found


def losses(
    spark: SparkSession, prepared: "Prepared", candidate: str, model: ModelConfig, setting: Setting
) -> list[float]:
    """Return the log loss in nats of one candidate in each fold, with ``setting`` in place of what ``model`` has."""
    own = with_setting(model, {**setting, "candidates": (candidate,)})
    return in_parallel(spark, [partial(_loss, prepared, place, own) for place in range(len(prepared.folds))])


def with_setting(model: ModelConfig, setting: Mapping[str, Any]) -> ModelConfig:
    """Return ``model`` with other values, checked."""
    return ModelConfig.model_validate({**model.model_dump(), **setting})


@dataclass
class Prepared:
    """The folds as the models read them, each prepared once for all trials that prepare alike.

    Args:
        folds: training and held-out rows.
        prepare: as in `tuned`.
        seed: of the trees.
    """

    folds: Sequence[Fold]
    prepare: Prepare
    seed: int
    _made: dict[tuple[int, int], tuple[DataFrame, DataFrame, int]] = field(default_factory=dict)
    _locks: dict[tuple[int, int], Lock] = field(default_factory=dict)

    def fold(self, place: int, model: ModelConfig) -> tuple[DataFrame, DataFrame, int]:
        """Return prepared training and held-out rows of a fold, and the most levels that a categorical feature has.

        Raises:
            DataError: FOLD_ONE_CLASS.
        """
        key = (place, model.knots)  # the only searched setting that the preparation reads
        with self._locks.setdefault(key, Lock()):  # whoever comes second waits for the first
            if key not in self._made:
                self._made[key] = self._prepared(self.folds[place], model)
        return self._made[key]

    def forget(self, all_but: int | None = None) -> None:
        """Give the memory back, but of what was prepared with so many knots."""
        for key in [key for key in self._made if key[1] != all_but]:
            train, held_out, _ = self._made.pop(key)
            train.unpersist()
            held_out.unpersist()

    def _prepared(self, fold: Fold, model: ModelConfig) -> tuple[DataFrame, DataFrame, int]:
        stages = self.prepare(fold.train, model)
        pipeline = PipelineModel(stages)
        train, held_out = (
            candidates.for_models(pipeline.transform(rows)).cache() for rows in (fold.train, fold.held_out)
        )
        labels = sorted(row[0] for row in train.groupBy(LABEL).count().collect())
        if len(labels) < 2 or not held_out.take(1):
            raise DataError(
                "FOLD_ONE_CLASS",
                f"Fold {fold.name} has training rows of label {labels}, and must have rows to judge by.",
                "Both labels, and at least one row to judge by.",
                "Set tuning.folds lower, or take more rows.",
            )
        return train, held_out, candidates.levels_of(stages)


def _loss(prepared: Prepared, place: int, model: ModelConfig) -> float:
    train, held_out, levels = prepared.fold(place, model)
    (stages,) = candidates.fit_candidates(train, model, levels, prepared.seed).values()
    predicted = scored(PipelineModel(stages).transform(held_out), LABEL, PROBABILITY)
    return float(predicted.agg(F.avg(METRIC)).collect()[0][0])
