"""`adapt` on tables and logs nobody has declared, and the run that follows without further edits."""

import csv
import gzip
import json
import random
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from churn import promote
from churn.adapt import Told, as_text, as_yaml, look
from churn.algorithms.silence import Histories, churn_share, histories, proposed_windows
from churn.config import ChurnConfig
from churn.ingest import sources_of, tables_of
from shared.delta.read import read
from shared.delta.tables import Warehouse
from shared.registry import tracking
from shared.registry.versions import CHAMPION, find
from tests.churn.conftest import QUICK, Churn

HEADER = ["Kunden-Nr.", "order", "Umsatz (€)", "seit", "Tarif.Name", "Churn Reason", "Notiz", "ausgetreten"]


def customers(count: int) -> list[dict[str, Any]]:
    """Rows with names as people write them; who has a cheap tariff and little turnover leaves more often."""
    draw = random.Random(3)
    rows = []
    for number in range(count):
        turnover, cheap = draw.uniform(100, 9_000), draw.random() < 0.5
        leaves = draw.random() < (0.75 if cheap and turnover < 4_000 else 0.12)
        since = date(2020, 1, 1) + timedelta(days=draw.randrange(1_400))
        rows.append(
            {
                "Kunden-Nr.": f"K{number:05d}",
                "order": draw.randrange(30),
                "Umsatz (€)": turnover,
                "seit": since,
                "Tarif.Name": "Spar" if cheap else "Würzig",
                "Churn Reason": "Preis" if leaves else None,
                "Notiz": f"hat am {number}. Tag lange mit uns geredet",
                "ausgetreten": "ja" if leaves else "nein",
            }
        )
    return rows


def german(file: Path, count: int) -> Path:
    """Write them as a spreadsheet in Germany would: semicolons, decimal commas, days before months, windows-1252."""
    with gzip.open(file, "wt", encoding="cp1252", newline="") as text:
        writer = csv.writer(text, delimiter=";")
        writer.writerow(HEADER)
        for row in customers(count):
            turnover = f"{row['Umsatz (€)']:,.2f}".translate(str.maketrans(",.", ".,"))
            writer.writerow({**row, "Umsatz (€)": turnover, "seit": f"{row['seit']:%d.%m.%Y}"}.values())
    return file


def jsonl(file: Path, count: int) -> Path:
    file.write_text(
        "".join(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in customers(count)), "utf-8"
    )
    return file


def parquet(file: Path, count: int) -> Path:
    pq.write_table(pa.Table.from_pylist(customers(count)), file)
    return file


FORMATS = {"table.csv.gz": german, "table.jsonl": jsonl, "table.parquet": parquet}


@pytest.mark.parametrize("name", FORMATS)
def test_the_settings_name_every_column_and_declare_what_is_kept(name: str, tmp_path: Path) -> None:
    path = str(FORMATS[name](tmp_path / name, 300))

    config = ChurnConfig.load(as_yaml(look(path, Told(label="ausgetreten"))), overrides=[f"source={path}"])

    ((table, source),) = sources_of(config)
    assert table.names == ("customer_id", "order", "umsatz", "seit", "tarif_name", "notiz", "ausgetreten")
    assert [column.type for column in table.columns[1:]] == ["double", "double", "date", "string", "string", "string"]
    assert set(source.columns) | set(source.ignore) == set(HEADER)
    assert set(source.ignore) == {"Churn Reason"}
    assert config.data
    assert config.data.texts == ("notiz",)
    assert (config.data.label, config.data.positive, config.data.negative) == ("ausgetreten", ("ja",), ("nein",))
    assert config.data.as_of == max(row["seit"] for row in customers(300))
    assert tables_of(config) == (table,)


def test_every_line_of_the_settings_gives_its_reason_and_doubt_is_marked(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_text("user id,plan_code,gone\n" + "".join(f"u{n},{n % 7},{int(n % 5 == 0)}\n" for n in range(100)))

    lines = as_yaml(look(str(file), Told())).splitlines()

    (code,) = [line for line in lines if "plan_code" in line and ": plan_code" in line]
    assert "# CHECK categorical 0.65: 7 whole numbers that seem to be codes" in code
    assert any("label: gone  # CHECK label 0.50" in line for line in lines)


def plain(file: Path, **columns: Sequence[object]) -> str:
    """Write columns beside an id, and a label of which every third row has left."""
    whole = {
        "customer_id": [f"C{row}" for row in range(120)],
        **columns,
        "churned": [row % 3 == 0 for row in range(120)],
    }
    with file.open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(whole)
        writer.writerows(zip(*whole.values(), strict=True))
    return str(file)


def settings(path: str, **told: Any) -> ChurnConfig:
    return ChurnConfig.load(as_yaml(look(path, Told(**told))), overrides=[f"source={path}"])


def test_names_that_yaml_reads_otherwise_are_names(tmp_path: Path) -> None:
    words = {name: [row % 7 for row in range(120)] for name in ("No", "Yes", "Null", "tenure")}
    when = [f"{row % 28 + 1:02d}.01.2024" for row in range(120)]
    levels = ["ab"[row % 2] for row in range(120)]

    config = settings(plain(tmp_path / "t.csv", **words, On=when, Off=levels))

    assert config.data
    assert {"no", "yes", "null", "on", "off"} <= set(config.data.columns)
    assert config.data.slices == ("off",)


def test_a_leak_that_is_kept_does_not_stop_the_training_that_follows(tmp_path: Path) -> None:
    path = plain(
        tmp_path / "t.csv", tenure=[row % 7 for row in range(120)], score=[5 * (row % 3 == 0) for row in range(120)]
    )

    assert settings(path).max_single_auc == ChurnConfig().max_single_auc
    assert settings(path, keep=("score",)).max_single_auc == 1.0
    assert settings(path, keep=("tenure",)).max_single_auc == ChurnConfig().max_single_auc


def test_what_nearly_ranks_the_label_alone_is_named_on_the_screen(tmp_path: Path) -> None:
    near = [100 * (row % 3 == 0) + row % 5 if row % 40 else 2 for row in range(120)]
    adapted = look(plain(tmp_path / "t.csv", tenure=[row % 7 for row in range(120)], near=near), Told())

    assert adapted.proposal.of("leak") == []
    assert "nearly ranks the outcome alone: near." in as_text(adapted, tmp_path / "local.yaml")


def test_room_is_made_for_rows_with_a_value_that_cannot_be_read(tmp_path: Path) -> None:
    columns = {
        f"x{place}": [(row, "?!")[row in (7 * place, 7 * place + 1)] for row in range(120)] for place in range(6)
    }

    text = as_yaml(look(plain(tmp_path / "t.csv", **columns), Told()))

    assert "max_failed_share: 0.13  # CHECK: 10.0% of the rows go to quarantine, as values cannot be read" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_after_adapt_the_printed_command_runs_to_the_end(
    spark: SparkSession, churn: Churn, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = FORMATS[name](tmp_path / name, 700)  # whole, as the JVM of the tests has a working folder of its own

    adapted = churn("adapt", path, "--label", "ausgetreten")
    assert adapted.exit_code == 0, adapted.output
    command = adapted.stdout.strip().splitlines()[-1].strip()
    assert command == f"python -m churn run --config conf/local.yaml --source {path}"
    result = churn(*command.split()[3:], *QUICK, "--json")

    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    ingested = next(step for step in outcome["steps"] if step["step"] == "ingest")
    assert (ingested["rows_read"], ingested["rows_quarantined"]) == (700, 0)
    assert outcome["metrics"]["test"]["auc"] > 0.7
    stored = read(spark, Warehouse("warehouse/table").table("silver_churn_customers")).where("customer_id = 'K00000'")
    row = stored.select("umsatz", "seit", "tarif_name").collect()[0]
    first = customers(1)[0]
    assert (round(row["umsatz"], 2), row["seit"]) == (round(first["Umsatz (€)"], 2), first["seit"])
    assert row["tarif_name"] == first["Tarif.Name"]
    # A command that is not told of the settings judges the slices that they name all the same.
    config = ChurnConfig(warehouse="warehouse/table")
    champion = find(tracking.connect(config, "churn"), "churn", CHAMPION)
    verdict = {gate.name: gate for gate in promote.judged(spark, config, champion, champion).gates}
    assert "tarif_name" in verdict["slices"].figures["where"]


def shop(file: Path, customers: int) -> Path:
    """Write a log without a header of names one knows: buyers stop or go on; some rows have no buyer."""
    draw, begin = random.Random(5), date(2023, 1, 1)
    lines = ["InvoiceNo,BuyerUserId,Bought At,Qty,Unit Price"]
    for number in range(customers):
        day, every, until = float(draw.randrange(60)), draw.choice([3, 9, 20]), draw.choice([150, 300, 900])
        while day < min(until, 500):
            buyer = "" if draw.random() < 0.1 else f"{number}.0"
            moment = begin + timedelta(days=int(day))
            lines.append(
                f"{len(lines)},{buyer},{moment:%m/%d/%Y} 14:30,{draw.randrange(-1, 4)},{draw.randrange(2, 30)}.5"
            )
            day += draw.expovariate(1 / every)
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_log_gets_windows_from_its_pauses_and_room_for_rows_of_nobody(tmp_path: Path) -> None:
    path = str(shop(tmp_path / "shop.csv", 150))

    config = ChurnConfig.load(as_yaml(look(path, Told())), overrides=[f"source={path}"])

    ((table, source),) = sources_of(config)
    assert table.names == ("customer_id", "event_ts", "quantity", "unit_price")
    assert source.formats == {"event_ts": "M/d/yyyy H:mm"}
    assert (config.shape, config.label.outcome_days, config.label.observation_days) == ("purchases", 30, 90)
    assert config.split.by == "time"
    assert 0.1 < config.max_failed_share < 0.2


@pytest.mark.slow
def test_a_log_of_ones_own_runs_to_the_end(churn: Churn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = shop(tmp_path / "shop.csv", 250)

    assert churn("adapt", path, "--to", "shop.yaml").exit_code == 0
    result = churn("run", "--config", "shop.yaml", "--source", path, *QUICK, "--json")

    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert outcome["metrics"]["test"]["auc"] > 0.7
    assert outcome["warehouse"] == "warehouse/shop"


def test_windows_follow_the_pauses_and_leave_room_to_learn_and_to_judge() -> None:
    weekly = Histories([list(range(0, 700, 7))] * 3, date(2020, 1, 1), date(2021, 12, 1))

    windows = proposed_windows(weekly)

    assert (windows.observation_days, windows.gap_days, windows.outcome_days, windows.every_days) == (21, 1, 7, 7)


def test_the_share_of_the_silent_is_counted_on_the_last_snapshot_whose_outcome_is_known() -> None:
    windows = ChurnConfig().label.model_copy(update={"observation_days": 10, "gap_days": 0, "outcome_days": 10})
    log = histories(["a", "a", "b", "c", None], [second * 86_400.0 for second in (9, 19, 8, 19, 3)])

    assert (log.begin, log.end) == (date(1970, 1, 9), date(1970, 1, 21))
    assert churn_share(log, windows) == 0.5  # of a and b, who were seen before the 11th, b is silent after


BROKEN = {
    "nothing there": (None, 2, "SOURCE_MISSING"),
    "empty": ("", 3, "EMPTY_FILE"),
    "binary": ("\x00\x01" * 99, 3, "FILE_BINARY"),
    "one column": ("a\n1\n2\n", 3, "ONE_COLUMN"),
    "two rows": ("customer_id,churn\na,0\nb,1\n", 3, "TOO_FEW_ROWS"),
    "no label": ("customer_id,age\n" + "".join(f"c{n},{n}\n" for n in range(60)), 2, "LABEL_UNKNOWN"),
    "one class": ("customer_id,age,churn\n" + "".join(f"c{n},{n},0\n" for n in range(60)), 3, "LABEL_ONE_CLASS"),
    "three classes": ("customer_id,churn\n" + "".join(f"c{n},{n % 3}\n" for n in range(60)), 3, "LABEL_NOT_BINARY"),
    "an id twice": (
        "customer_id,churn\n" + "".join(f"c{n if n > 5 else 0},{n % 2}\n" for n in range(60)),
        3,
        "ID_NOT_UNIQUE",
    ),
    "nothing to learn from": (
        "customer_id,churn\n" + "".join(f"c{n},{int(n % 3 == 0)}\n" for n in range(60)),
        3,
        "FEATURES_EMPTY",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_source_that_cannot_be_used_is_explained_and_nothing_is_written(
    spark: SparkSession, churn: Churn, kind: str, tmp_path: Path
) -> None:
    content, exit_code, code = BROKEN[kind]
    if content is not None:
        (tmp_path / "f.csv").write_text(content)

    result = churn("adapt", tmp_path / "f.csv", "--to", tmp_path / "conf" / "local.yaml")

    assert (result.exit_code, result.stdout) == (exit_code, ""), result.output
    assert result.stderr.startswith(f"[{code}]")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "conf").exists()


def test_settings_that_are_there_are_not_replaced_unasked(spark: SparkSession, churn: Churn, tmp_path: Path) -> None:
    file, target = german(tmp_path / "f.csv.gz", 100), tmp_path / "own.yaml"
    target.write_text("mine")
    common = ("adapt", file, "--label", "ausgetreten", "--to", target)

    refused = churn(*common)
    assert (refused.exit_code, target.read_text()) == (2, "mine")
    assert "[CONFIG_EXISTS]" in refused.stderr
    asked = churn(*common, "--force", "--json")
    assert asked.exit_code == 0, asked.output
    found = json.loads(asked.stdout)
    assert found["label"]["positive"] == "ja"
    assert {role["column"] for role in found["roles"]} == set(HEADER)


@pytest.mark.parametrize(
    "text",
    [
        "{shape: subscriptions, data: {}}",
        "{shape: purchases, data: {columns: {colour: string}}}",
        "{shape: customers, split: {by: customer, validation: 0.2, test: 0.2}, data: {label: x, columns: {y: string}}}",
        "{shape: customers, split: {by: customer, validation: 0.2, test: 0.2}, data: {label: x, positive: ['1'],"
        " negative: ['0'], columns: {x: string, since: date}}}",
        "{shape: customers, split: {by: customer, validation: 0.2, test: 0.2}, data: {label: x, positive: ['1'],"
        " negative: ['0'], columns: {x: string, age: double}, texts: [age]}}",
    ],
)
def test_settings_of_ones_own_data_that_cannot_work_are_refused(text: str) -> None:
    with pytest.raises(Exception, match=r"\[CONFIG_INVALID\].*data") as raised:
        ChurnConfig.load(text)

    assert raised.value.exit_code == 2  # type: ignore[attr-defined]
