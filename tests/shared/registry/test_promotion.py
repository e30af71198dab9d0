"""The champion changes by decisions alone; each is one row of the ledger, also when a crash came in between."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.feature import SQLTransformer
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from shared.core.errors import DataError, ModelError
from shared.core.run import RunConfig
from shared.delta.tables import Warehouse
from shared.registry import ledger, models, promotion, tracking
from shared.registry.gates import Gate, Verdict
from shared.registry.tracking import MlflowClient
from shared.registry.versions import CHALLENGER, CHAMPION, PREVIOUS, Registered, find_any, point

GOOD = Verdict((Gate("gain", True, "better", {"low": 0.1}),), table_version=4)
BAD = Verdict((Gate("gain", False, "no better", {"low": -0.1}),), table_version=4)


class Things:
    """A model, its registry and its ledger."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.config = spark, RunConfig(warehouse=str(folder))
        self.warehouse = Warehouse(str(folder))
        self.client: MlflowClient = tracking.connect(self.config, "things")

    def train(self, run_id: str) -> Registered:
        model = PipelineModel([SQLTransformer(statement="SELECT *, 1 AS y FROM __THIS__")])
        with tracking.training_run(self.config, run_id, {"gold_x": 3}) as run:
            return models.register(self.client, run, "things", model)

    def promote(self, verdict: Verdict = GOOD, run_id: str = "p") -> Registered:
        return promotion.promote(self.spark, self.warehouse, self.client, "things", run_id, lambda *_: verdict)

    def rollback(self, run_id: str = "r") -> Registered:
        return promotion.rollback(self.spark, self.warehouse, self.client, "things", run_id)

    def aliases(self) -> tuple[int | None, ...]:
        found = (find_any(self.client, "things", alias) for alias in (CHAMPION, PREVIOUS, CHALLENGER))
        return tuple(each and each.version for each in found)

    def rows(self) -> list[tuple[object, ...]]:
        columns = ("action", "version", "champion_before", "champion_after", "previous_after")
        return [tuple(row) for row in ledger.entries(self.spark, self.warehouse, "things").select(*columns).collect()]


@pytest.fixture(scope="module")
def registry(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Things]:
    """A registry with three versions."""
    things = Things(spark, tmp_path_factory.mktemp("things"))
    for run_id in ("one", "two", "three"):
        things.train(run_id)
    yield things
    tracking.mlflow.set_tracking_uri(None)
    tracking.mlflow.set_registry_uri(None)


@pytest.fixture
def things(registry: Things, tmp_path: Path) -> Things:
    """The registry before any decision, with a ledger of its own; version 1 is the challenger."""
    registry.warehouse = Warehouse(str(tmp_path))
    for alias in (CHAMPION, PREVIOUS):
        point(registry.client, "things", alias, None)
    if ledger.settled(registry.client, "things"):
        registry.client.delete_registered_model_tag("things", ledger._SETTLED_TAG)
    point(registry.client, "things", CHALLENGER, 1)
    return registry


def test_promotion_refusal_and_rollback_are_each_one_row(things: Things, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    assert things.promote().version == 1
    point(things.client, "things", CHALLENGER, 2)
    with pytest.raises(ModelError, match=r"GATE_REFUSED\] Version 2 of things.*gain: no better") as error:
        things.promote(BAD)
    assert error.value.exit_code == 4
    assert things.aliases() == (1, None, 2)
    assert things.promote(GOOD).version == 2
    assert things.aliases() == (2, 1, 2)
    assert things.rollback().version == 1
    assert things.aliases() == (1, 2, 2)
    assert things.rollback().version == 2  # undoes the first

    assert things.rows() == [
        ("promoted", 1, None, 1, None),
        ("refused", 2, 1, 1, None),
        ("promoted", 2, 1, 2, 1),
        ("rolled_back", 1, 2, 1, 2),
        ("rolled_back", 2, 1, 2, 1),
    ]
    first = ledger.entries(things.spark, things.warehouse, "things").first()
    assert (first["run_id"], first["decided_by"], first["table_version"]) == ("p", "ada", 4)
    assert json.loads(first["verdict"]) == GOOD.as_dict()


def test_the_same_decision_twice_is_one_row(things: Things) -> None:
    for run_id in ("a", "b"):
        with pytest.raises(ModelError, match="GATE_REFUSED"):
            things.promote(BAD, run_id)
    for run_id in ("c", "d"):
        assert things.promote(GOOD, run_id).version == 1

    assert things.rows() == [("refused", 1, None, None, None), ("promoted", 1, None, 1, None)]


@pytest.mark.parametrize(
    "moves_before_the_crash", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(2, marks=pytest.mark.slow)]
)
def test_a_crash_between_ledger_and_registry_is_mended_by_the_next_verb(
    things: Things, monkeypatch: pytest.MonkeyPatch, moves_before_the_crash: int
) -> None:
    things.promote()
    point(things.client, "things", CHALLENGER, 2)
    done: list[str] = []

    def dying(client: MlflowClient, name: str, alias: str, version: int | None) -> None:
        if len(done) == moves_before_the_crash:
            raise KeyboardInterrupt
        done.append(alias)
        point(client, name, alias, version)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "point", dying)
        if moves_before_the_crash == 2:
            patch.setattr(things.client, "set_registered_model_tag", lambda *_: 1 / 0)
        with pytest.raises((KeyboardInterrupt, ZeroDivisionError)):
            things.promote()

    assert things.promote().version == 2
    assert things.aliases() == (2, 1, 2)
    assert things.rows() == [("promoted", 1, None, 1, None), ("promoted", 2, 1, 2, 1)]


def test_an_alias_that_somebody_moved_by_hand_is_not_moved_back(things: Things) -> None:
    things.promote()
    point(things.client, "things", CHAMPION, 3)

    assert ledger.settle(things.spark, things.warehouse, things.client, "things") == 0
    assert things.aliases()[0] == 3


def test_the_ledger_of_another_registry_moves_nothing_here(things: Things, tmp_path: Path) -> None:
    things.promote()
    other = Things(things.spark, tmp_path / "other")
    try:
        other.train("elsewhere")
        assert ledger.settle(things.spark, things.warehouse, other.client, "things") == 0
        assert other.aliases() == (None, None, 1)

        assert other.promote().version == 1
        other.train("again")
        assert other.promote().version == 2
        assert other.aliases() == (2, 1, 2)
    finally:
        tracking.connect(things.config, "things")


def test_a_champion_that_is_gone_makes_nobody_the_first(things: Things) -> None:
    things.promote()
    point(things.client, "things", CHALLENGER, 2)
    point(things.client, "things", CHAMPION, None)

    with pytest.raises(ModelError, match="CHAMPION_MISSING") as error:
        things.promote()
    assert error.value.exit_code == 4
    assert (things.rows()[-1][0], things.aliases()[0]) == ("refused", None)

    promotion.promote(
        things.spark, things.warehouse, things.client, "things", "q", lambda *_: GOOD, without_champion=True
    )
    assert things.aliases()[0] == 2


def test_without_a_previous_champion_there_is_no_way_back(things: Things) -> None:
    for _ in range(2):
        with pytest.raises(ModelError, match="PREVIOUS_MISSING") as error:
            things.rollback()
        assert error.value.exit_code == 4
        things.promote()


def test_whatever_goes_wrong_while_judging_is_a_refusal(things: Things) -> None:
    def empty(*_: object) -> Verdict:
        raise DataError("EVALUATION_EMPTY", "There are no rows to evaluate.")

    with pytest.raises(ModelError, match=r"GATE_REFUSED.*EVALUATION_EMPTY") as error:
        promotion.promote(things.spark, things.warehouse, things.client, "things", "p", empty)

    assert error.value.exit_code == 4

    def of_other_types(*_: object) -> Verdict:
        things.spark.range(1).select(F.ascii("id"), F.size("id")).collect()
        return GOOD

    with pytest.raises(ModelError, match=r"GATE_REFUSED.*DATATYPE_MISMATCH") as error:
        promotion.promote(things.spark, things.warehouse, things.client, "things", "p", of_other_types)

    assert error.value.exit_code == 4
    assert "\n" not in str(error.value)
    assert things.rows() == [("refused", 1, None, None, None)] * 2
    assert things.aliases() == (None, None, 1)


def test_of_two_promotions_at_one_moment_the_first_is_carried_out_and_the_other_is_told(things: Things) -> None:
    things.promote()
    point(things.client, "things", CHALLENGER, 2)

    def while_another_promotes(*_: object) -> Verdict:
        point(things.client, "things", CHALLENGER, 3)
        assert things.promote(run_id="other").version == 3
        return GOOD

    with pytest.raises(ModelError, match=r"DECISION_OVERTAKEN.*version 3 is the champion") as error:
        promotion.promote(things.spark, things.warehouse, things.client, "things", "slow", while_another_promotes)

    assert error.value.exit_code == 4
    assert things.aliases() == (3, 1, 3)


def test_a_tampered_challenger_is_not_promoted_whatever_its_figures(things: Things) -> None:
    point(things.client, "things", CHALLENGER, 3)
    source = things.client.get_model_version("things", "3").source
    stored = Path(things.config.warehouse) / "mlartifacts" / source.replace(":", "") / "artifacts"
    (stored / "extra.txt").write_text("")
    models._loaded.cache_clear()  # another test has promoted it
    try:
        with pytest.raises(ModelError, match=r"MODEL_TAMPERED.*extra.txt"):
            things.promote()
    finally:
        (stored / "extra.txt").unlink()

    assert things.rows() == [("refused", 3, None, None, None)]
    assert things.aliases() == (None, None, 3)


def test_nobody_changes_the_ledger(things: Things) -> None:
    things.promote()
    table = things.warehouse.table("ops_things_promotions").sql

    with pytest.raises(Exception, match="DELTA_CANNOT_MODIFY_APPEND_ONLY"):
        things.spark.sql(f"DELETE FROM {table}").collect()
    with pytest.raises(Exception, match="DELTA_CANNOT_MODIFY_APPEND_ONLY"):
        things.spark.sql(f"UPDATE {table} SET reason = ''").collect()
    assert len(things.rows()) == 1
