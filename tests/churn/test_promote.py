"""The champion is replaced by a model that is better on the rows of both, and every refusal says why and ends with 4."""

import json
import math
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from click.testing import Result
from pyspark.ml import PipelineModel
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import SparkSession

from churn import promote
from churn.config import ChurnConfig
from churn.features import FEATURES
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.delta.write import overwrite
from shared.registry import documents, models, tracking
from shared.registry.versions import CHALLENGER, CHAMPION, find, point
from tests.churn.conftest import QUICK, Churn, telco_like

WORSE = "0.3D * probability + 0.35D"
BETTER = "0.6D * label + 0.4D * probability"


class Telco:
    """A copy of the warehouse of the run on customers, whose registry takes variants of its champion."""

    def __init__(self, churn: Churn, warehouse: str) -> None:
        self.churn, self.warehouse = churn, warehouse
        self.config = ChurnConfig(warehouse=warehouse)
        self.client = tracking.connect(self.config, "churn")
        self.champion = find(self.client, "churn", CHAMPION)

    def challenge(
        self, name: str, probability: str = "probability", *, is_evaluated: bool = True, **changed: Any
    ) -> models.Registered:
        """Register the champion with another probability as challenger; its evaluation is the same, but for ``changed``."""
        training, config = (documents.logged(self.champion, kind) for kind in ("training", "config"))
        versions = {table: found.version for table, found in tracking.tables_of(self.champion.run).items()}
        with tracking.training_run(self.config, name, versions) as run:
            statement = f"SELECT * EXCEPT (probability), {probability} AS probability FROM __THIS__"
            whole = PipelineModel([models.load(self.champion), SQLTransformer(statement=statement)])
            made = models.register(self.client, run, "churn", whole, documents={"config": config, "training": training})
        if is_evaluated:
            documents.add(made, "evaluation", documents.added(self.champion, "evaluation") | changed)
        return made

    def promote(self, *settings: str) -> Result:
        return self.churn("promote", "--warehouse", self.warehouse, *QUICK, *settings)

    def versions(self) -> tuple[int, int]:
        return find(self.client, "churn", CHAMPION).version, find(self.client, "churn", CHALLENGER).version


@pytest.fixture
def telco(churn: Churn, telco_run: dict[str, Any], tmp_path: Path) -> Telco:
    return Telco(churn, str(shutil.copytree(telco_run["warehouse"], tmp_path / "warehouse")))


def stored(model: models.Registered) -> Path:
    """Where the files of its run lie."""
    return Path(urlparse(model.run.info.artifact_uri).path)


@pytest.mark.slow
def test_what_is_no_better_or_was_not_evaluated_is_refused_and_the_ledger_says_so(telco: Telco) -> None:
    evaluation = documents.added(telco.champion, "evaluation")
    test, parity = evaluation["test"], evaluation["parity"]
    variants: list[tuple[str, dict[str, Any] | None, str]] = [
        ("same", {}, "gain: log_loss better by 0"),
        ("empty", {"test": {}}, "evaluation: test.rows is None"),
        ("nan", {"test": {**test, "log_loss": math.nan}}, "test.log_loss is nan"),
        ("unsliced", {"slices": {}}, "slice contract is missing"),
        ("old", {"features_version": -1}, "newest_table: made on version -1"),
        ("hardly", {"parity": {**parity, "rows": parity["edge_rows"] + 999}}, "on 999 rows beside edge cases"),
        ("another's", None, "evaluation: there is none"),
    ]
    for name, changed, message in variants:
        challenger = telco.challenge(name, is_evaluated=changed is not None, **(changed or {}))
        if changed is None:  # who may write where the files lie, but not in the registry, can do this
            (own,) = stored(telco.champion).glob("evaluation-*.json")
            shutil.copy(own, stored(challenger))

        result = telco.promote()

        assert result.exit_code == 4, result.output
        assert "[GATE_REFUSED]" in result.stderr
        assert message in result.stderr, result.stderr
    assert telco.versions() == (1, 1 + len(variants))
    shown = telco.churn("ledger", "--json", "--warehouse", telco.warehouse)
    rows = json.loads(shown.stdout)["rows"]
    assert [(row["action"], row["version"], row["champion_after"]) for row in rows] == [
        ("promoted", 1, 1),
        *(("refused", 2 + number, 1) for number in range(len(variants))),
    ]
    assert "refused" in telco.churn("ledger", "--warehouse", telco.warehouse).stdout


@pytest.mark.slow
def test_a_better_model_takes_over_and_is_rolled_back_and_a_worse_one_is_not_even_with_a_good_evaluation(
    telco: Telco,
) -> None:
    telco.challenge("worse", WORSE)
    refused = telco.promote()
    assert refused.exit_code == 4
    assert "log_loss better by -" in refused.stderr
    assert telco.versions() == (1, 2)

    telco.challenge("better", BETTER)
    assert telco.promote().exit_code == 0
    assert telco.versions() == (3, 3)
    assert telco.promote().exit_code == 0  # it is the champion already

    back = telco.churn("rollback", "--json", "--warehouse", telco.warehouse)
    assert json.loads(back.stdout)["model"] == {"name": "churn", "version": 1, "alias": "champion"}
    rows = json.loads(telco.churn("ledger", "--json", "--warehouse", telco.warehouse).stdout)["rows"]
    assert [row["action"] for row in rows] == ["promoted", "refused", "promoted", "rolled_back"]


def test_an_evaluation_that_was_changed_is_refused_and_the_ledger_says_so(telco: Telco) -> None:
    challenger = telco.challenge("worse", WORSE)
    (file,) = stored(challenger).glob("evaluation-*.json")
    file.write_text(file.read_text().replace('"points"', '"dots"'))

    result = telco.promote()

    assert (result.exit_code, "[DOCUMENT_CHANGED]" in result.stderr) == (4, True), result.stderr
    last = json.loads(telco.churn("ledger", "--json", "--warehouse", telco.warehouse).stdout)["rows"][-1]
    assert (last["action"], "was changed" in last["reason"]) == ("refused", True)


def test_there_is_no_way_back_from_the_first_champion(telco: Telco) -> None:
    result = telco.churn("rollback", "--warehouse", telco.warehouse)

    assert (result.exit_code, "[PREVIOUS_MISSING]" in result.stderr) == (4, True)


def test_a_champion_that_cannot_be_scored_any_more_stays_and_the_gate_says_why(
    spark: SparkSession, telco: Telco
) -> None:
    features = Warehouse(telco.warehouse).table(FEATURES)
    inputs = documents.logged(telco.champion, "training")["inputs"]
    overwrite(read(spark, features).drop(inputs["numeric"][0]), features, schema_may_change=True)

    found = promote.judged(spark, telco.config, telco.challenge("narrow", features_version=1), telco.champion)

    gain = next(gate for gate in found.gates if gate.name == "gain")
    assert not found.passed
    assert f"needs the columns ['{inputs['numeric'][0]}']" in gain.found


def test_rows_the_champion_was_trained_on_are_not_compared(spark: SparkSession, telco: Telco) -> None:
    rows = read(spark, Warehouse(telco.warehouse).table(FEATURES))
    learned, test = rows.where("split = 'train'").limit(7), rows.where("split = 'test'")

    unseen = promote._unseen(spark, telco.config, test.unionByName(learned), telco.champion)

    assert unseen.count() == test.count()


def test_a_run_goes_on_with_the_champion_when_the_new_model_is_no_better(spark: SparkSession, telco: Telco) -> None:
    telco.challenge("same", features_version=-1)

    kept = promote.promote_or_keep(spark, telco.config, "run")

    assert kept.model == {"name": "churn", "version": 1, "alias": "champion"}
    assert "Version 2 of churn is not promoted" in kept.facts["refused"]


def test_a_tampered_model_is_neither_promoted_nor_scored_with(telco: Telco) -> None:
    challenger = telco.challenge("same")
    source = telco.client.get_model_version("churn", str(challenger.version)).source.removeprefix("models:/")
    stored = Path(urlparse(telco.client.get_logged_model(source).artifact_location).path)
    (stored / "sparkml" / "metadata" / "part-99999").write_text('{"class": "os.system"}')
    models._loaded.cache_clear()

    result = telco.promote()
    point(telco.client, "churn", CHAMPION, challenger.version)
    scored = telco.churn("score-batch", "--warehouse", telco.warehouse)

    for each in (result, scored):
        assert each.exit_code == 4, each.output
        assert "[MODEL_TAMPERED]" in each.stderr
        assert "part-99999'] is not in the manifest" in each.stderr


@pytest.mark.slow
def test_a_model_that_knows_nothing_is_not_promoted_and_the_champion_stays(
    churn: Churn, telco: Telco, tmp_path: Path
) -> None:
    noise = telco_like(tmp_path / "noise", 500, signal=0.0)
    for verb in ("ingest", "features", "train", "evaluate"):
        result = churn(verb, "--source", noise, "--warehouse", telco.warehouse, *QUICK)
        assert result.exit_code == 0, result.output

    result = telco.promote()

    assert result.exit_code == 4, result.output
    assert "[GATE_REFUSED] Version 2" in result.stderr
    assert telco.versions() == (1, 2)
