"""The settings below a user's own follow from the source."""

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn.config import ChurnConfig, ModelConfig, as_trained, layers, space_of
from churn.ingest import sources_of
from churn.schema import PURCHASES
from shared.core.config import parse, redacted
from shared.core.errors import ConfigError, ModelError
from shared.core.session import SessionConfig
from shared.delta.read import read
from shared.delta.tables import Warehouse
from tests.churn.conftest import Churn


@pytest.mark.parametrize("source", ["hdfs:///data/Telco-Customer-Churn.csv", "s3a://b/telco/Telco-Customer-Churn.csv"])
def test_the_publishers_file_is_known_at_a_uri_too(source: str) -> None:
    config = ChurnConfig.load(*layers(source))

    assert (config.shape, config.split.by) == ("customers", "customer")


@pytest.mark.parametrize("source", ["hdfs:///x/CDNOW_master.txt.gz", "hdfs:///x/Telco-Customer-Churn.csv", "s3a://own"])
def test_a_quick_jvm_and_few_candidates_are_for_the_embedded_data_only(source: str) -> None:
    small, whole = ChurnConfig.load(*layers(None)), ChurnConfig.load(*layers(source))

    assert (small.session.fast_start, small.model.candidates) == (True, ("logistic", "boosted", "blend"))
    assert (whole.session, whole.model) == (SessionConfig(), ModelConfig())


def test_the_settings_that_a_run_records_are_those_it_had_whatever_its_columns_are_called() -> None:
    own = ChurnConfig(
        source="s3a://b/own",
        shape="customers",
        split={"by": "customer", "validation": 0.2, "test": 0.2},
        sources={"customers": {"columns": {"plan_key": "tokens"}, "formats": {"tokens": "yyyy-MM-dd"}}},
        data={
            "columns": {"left": "string", "password_resets": "double", "tokens": "bigint"},
            "label": "left",
            "positive": ["1"],
            "negative": ["0"],
        },
    )

    assert ChurnConfig.of_run(redacted(own)) == own
    assert ChurnConfig.of_run(redacted(ChurnConfig())) == ChurnConfig()


def test_the_settings_that_a_run_records_hold_no_token_of_a_webhook_and_can_be_used() -> None:
    own = ChurnConfig(monitoring={"sinks": {"webhook": "https://hooks.slack.com/services/T0/hunter2"}})
    recorded = redacted(own)

    assert "hunter2" not in str(recorded)
    assert ChurnConfig.of_run(recorded).monitoring.sinks.webhook == "https://hooks.slack.com/******"
    assert as_trained(recorded, own).monitoring == own.monitoring


@pytest.mark.parametrize("recorded", [{"model": {"knots": 0}}, {"retired": 1}, [], None])
def test_settings_that_a_run_recorded_and_nobody_knows_are_an_error_of_the_model(recorded: object) -> None:
    with pytest.raises(ModelError, match="RECORDED_CONFIG_INVALID"):
        as_trained(recorded, ChurnConfig())


def test_the_shape_of_a_source_of_ones_own_is_set_in_its_settings(tmp_path: Path) -> None:
    assert ChurnConfig.load(*layers(str(tmp_path)), "shape: purchases").shape == "purchases"


@pytest.mark.parametrize("names", [[], ["blend"], ["logistic", "blend"], ["forest", "forest", "blend"]])
def test_candidates_that_leave_nothing_to_choose_or_to_blend_are_refused(names: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"CONFIG_INVALID.*model.candidates is \["):
        ChurnConfig.load(*layers(None), f"model: {{candidates: [{', '.join(names)}]}}")


@pytest.mark.parametrize("split", ["test: 0.2", "validation: 2.9", "{by: customer, test: 0.2, validation: 2}"])
def test_snapshots_are_counted_and_customers_are_shared_out(split: str) -> None:
    text = split if split.startswith("{") else f"{{{split}}}"

    with pytest.raises(ConfigError, match=r"CONFIG_INVALID.*split.validation and split.test are"):
        ChurnConfig.load(*layers(None), f"split: {text}")


def test_a_command_that_uses_a_model_takes_what_it_was_trained_on_and_keeps_its_own_rest() -> None:
    recorded = ChurnConfig.load(
        *layers("hdfs:///x/CDNOW_master.txt"), "{source: 'hdfs:///x/CDNOW_master.txt', seed: 1, sample: {days: 400}}"
    )
    command = ChurnConfig(
        warehouse="w", seed=2, bootstrap_replicates=20, costs={"contact": 1.0}, tracking_uri="http://m"
    )

    found = as_trained(recorded.model_dump(mode="json"), command)

    of_training = {"shape", "source", "sources", "sample", "label", "split", "model"}
    assert found.model_dump(include=of_training) == recorded.model_dump(include=of_training)
    assert found.model_dump(exclude={*of_training, "costs"}) == command.model_dump(exclude={*of_training, "costs"})
    assert found.label.as_of == date(1998, 7, 1)
    assert found.costs.model_dump() == {"contact": 1.0, "value_saved": 40.0, "success_rate": 0.1}  # named: the first


def test_the_settings_in_the_readme_work_as_written() -> None:
    text = (Path(__file__).parents[2] / "churn/README.md").read_text(encoding="utf-8")
    own = text.split("```yaml\n")[1].split("```")[0]

    config = ChurnConfig.load(*layers(parse(own, "the README")["source"]), own)

    ((table, source),) = sources_of(config)
    assert (table, source.format, source.label) == (PURCHASES, "jdbc", "sales")
    assert set(source.columns.values()) == set(PURCHASES.names)
    assert config.session.jar_sets == ("delta", "jdbc")


def test_a_table_without_dates_cannot_be_split_by_time() -> None:
    with pytest.raises(ConfigError, match=r"CONFIG_INVALID.*split.by=customer"):
        ChurnConfig.load(*layers(None), "shape: customers")


def test_the_source_may_be_named_in_the_settings(churn: Churn, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"source: {tmp_path / 'nowhere'}")

    result = churn("ingest", "--config", own, "--warehouse", tmp_path / "w")

    assert result.exit_code == 2
    assert "[SOURCE_MISSING]" in result.stderr


OWN = """
shape: purchases
source: {folder}
sources:
  purchases:
    format: csv
    path: {folder}/orders.csv
    delimiter: ";"
    encoding: ISO-8859-1
    date_format: yyyy-MM-dd
    timestamp_format: dd.MM.yyyy
    columns: {{kunde: customer_id, tag: event_ts, menge: quantity, betrag: amount}}
"""


@pytest.mark.slow
def test_a_table_may_be_read_in_another_way_by_settings_alone(
    spark: SparkSession, churn: Churn, tmp_path: Path
) -> None:
    (tmp_path / "orders.csv").write_bytes(
        "kunde;tag;menge;betrag\nMüller;05.01.2024;2;9.5\nAlt;06.01.2024;1;3\n".encode("latin1")
    )
    own = tmp_path / "own.yaml"
    own.write_text(OWN.format(folder=tmp_path))

    result = churn("ingest", "--config", own, "--warehouse", tmp_path / "w")

    assert result.exit_code == 0, result.stderr
    rows = read(spark, Warehouse(str(tmp_path / "w")).table("silver_churn_purchases"))
    found = (
        rows.select("customer_id", F.to_date("event_ts").cast("string"), "quantity").orderBy("customer_id").collect()
    )
    assert [tuple(row) for row in found] == [("Alt", "2024-01-06", 1), ("Müller", "2024-01-05", 2)]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("sources.purchase.delimiter=;", "[TABLE_UNKNOWN]"),
        ("sources.purchases.delimeter=;", "Did you mean 'delimiter'"),
        (
            "sources.purchases.database={url: jdbc:postgresql://x/y, table: t, user: u, password: hunter2}",
            "[SECRET_NOT_A_REFERENCE]",
        ),
    ],
)
def test_settings_of_a_table_are_checked(churn: Churn, tmp_path: Path, setting: str, says: str) -> None:
    (tmp_path / "orders.csv").write_text("x\n1\n")
    own = tmp_path / "own.yaml"
    own.write_text(OWN.format(folder=tmp_path))

    result = churn("ingest", "--config", own, "--warehouse", tmp_path / "w", "--set", setting)

    assert result.exit_code == 2
    assert says in result.stderr
    assert "hunter2" not in result.output


def test_settings_of_tables_need_a_source() -> None:
    with pytest.raises(ConfigError, match="set source too"):
        ChurnConfig.load(*layers(None), "sources: {usage: {format: csv}}")


def test_the_space_in_the_readme_is_searched_as_written() -> None:
    text = (Path(__file__).parents[2] / "churn/README.md").read_text(encoding="utf-8")
    own = text.split("```yaml\n")[2].split("```")[0]

    config = ChurnConfig.load(*layers(None), own)

    spaces = {name: space_of(name, config.model, config.tuning.space) for name in ("logistic", "boosted")}
    assert {name: list(space.parameters) for name, space in spaces.items()} == {
        "logistic": ["logistic_penalty"],
        "boosted": ["boosted_depth"],
    }
