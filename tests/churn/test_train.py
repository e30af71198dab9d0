"""What learns, learns from training rows alone."""

from functools import partial
from typing import Any

import pytest
from pyspark.ml import Transformer
from pyspark.sql import DataFrame, SparkSession

from churn.algorithms import candidates
from churn.algorithms.candidates import Inputs
from churn.config import ChurnConfig
from churn.features import FEATURES
from churn.train import fit
from shared.core.errors import DataError
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.features import leakage
from shared.registry import documents, models, tracking

CONFIG = ChurnConfig(model={"candidates": ["logistic"]})


@pytest.fixture
def features(spark: SparkSession, small_run: dict[str, Any]) -> DataFrame:
    return read(spark, Warehouse(small_run["warehouse"]).table(FEATURES))


def test_a_preparation_fitted_on_other_rows_than_the_training_rows_stops_the_training(
    features: DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, labelled = candidates.fit_preparation, features.where("split IN ('train', 'validation', 'test')")

    def leaking(_: DataFrame, *settings: Any) -> list[Transformer]:
        return honest(labelled, *settings)

    monkeypatch.setattr(candidates, "fit_preparation", leaking)

    with pytest.raises(DataError, match=r"LEAK_FITTED_ON_TEST.*'test': \d+, 'validation': \d+"):
        fit(features.where("split IN ('train', 'validation')"), CONFIG)


def test_the_registered_preparation_is_what_the_training_rows_alone_teach(
    features: DataFrame, small_run: dict[str, Any]
) -> None:
    client = tracking.connect(ChurnConfig(warehouse=small_run["warehouse"]), "churn")
    model = models.find(client, "churn", models.CHAMPION)
    inputs = documents.logged(model, "training")["inputs"]
    again = partial(candidates.fit_preparation, inputs=Inputs(**inputs), config=CONFIG.model)
    train, stages = features.where("split = 'train'"), models.load(model).stages

    leakage.check_fit(again, stages, train)
    with pytest.raises(DataError, match="LEAK_FITTED_ON_TEST"):
        leakage.check_fit(again, stages, train.where("days_since_use > 3"))
