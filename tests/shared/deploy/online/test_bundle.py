"""The exported model in memory."""

import math
from pathlib import Path

import pytest
from onnx import TensorProto

from shared.core.errors import ModelError
from shared.deploy.export import expressions
from shared.deploy.export.graph import Graph
from shared.deploy.online import bundle
from shared.deploy.online.bundle import Contract, OnlineModel, Reason
from shared.features.words import WordsConfig

ROW = {"x": 1.0, "visits": 3, "is_new": True, "plan": "a"}


def sigmoid(margin: float) -> float:
    return 1 / (1 + math.exp(-margin))


def test_a_row_has_the_probability_of_the_graph(model: OnlineModel) -> None:
    rows = [ROW, {**ROW, "x": None, "plan": None}, {**ROW, "x": math.nan, "plan": "unseen"}, {}]

    assert model.probabilities(rows).tolist() == pytest.approx([sigmoid(2), sigmoid(-1), sigmoid(-1), sigmoid(-1)])


def test_a_reason_is_the_change_of_the_log_odds_and_the_largest_comes_first(model: OnlineModel) -> None:
    (probability, reasons), (_, none) = model.explained([{**ROW, "x": 2.0}, model.contract.typical], 3)

    # x from 0.5 to 2 moves 2 * 1.5, the plan 1; visits and is_new differ, but move nothing: ties go by name.
    assert probability == pytest.approx(sigmoid(4))
    assert reasons == [Reason("x", 2.0, 3.0), Reason("plan", "a", 1.0), Reason("is_new", True, 0.0)]
    assert none == []


def test_no_reasons_are_made_when_none_are_wanted(model: OnlineModel) -> None:
    assert model.explained([ROW], 0) == [(pytest.approx(sigmoid(2)), [])]


def test_a_bundle_reads_back(folder: Path, model: OnlineModel) -> None:
    again = OnlineModel.read(folder)

    assert again.contract == model.contract
    assert again.probabilities([ROW]).tolist() == model.probabilities([ROW]).tolist()


@pytest.mark.parametrize("file", ["model.onnx", "contract.json"])
@pytest.mark.parametrize("text", [None, "", "{}"])
def test_a_broken_bundle_is_refused(folder: Path, file: str, text: str | None) -> None:
    (folder / file).unlink() if text is None else (folder / file).write_text(text)

    with pytest.raises(ModelError) as refusal:
        OnlineModel.read(folder)
    assert refusal.value.code == "BUNDLE_UNREADABLE"


@pytest.fixture(scope="module")
def reading() -> OnlineModel:
    made = Graph()
    made.words("words_0", "message")
    counted = {"mode": "TF", "min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0, "ngram_counts": [0]}
    pool = {"ngram_indexes": [0], "pool_strings": ["cancel"]}
    counts = made.add("Cast", made.add("TfIdfVectorizer", "words_0", **counted, **pool), to=TensorProto.DOUBLE)
    made.put(counts, ["cancels"])
    expressions.transform(made, "SELECT *, 1 / (1 + exp(-(`cancels` - 1))) AS p FROM __THIS__")
    contract = Contract(
        vertical="example",
        inputs={"message": "text"},
        typical={"message": ""},
        output="p",
        threshold=0.5,
        decisions=("contact", "leave"),
        words=WordsConfig(),
    )
    return OnlineModel(contract, made.model("p", "p").SerializeToString())


def test_a_text_is_sent_as_it_was_written_and_becomes_the_words_of_training(reading: OnlineModel) -> None:
    texts = ["Cancelled! I was cancelling…", "hello", None, "", ["cancel"]]
    assert reading.probabilities([{"message": text} for text in texts]).tolist() == pytest.approx(
        [sigmoid(1), sigmoid(-1), sigmoid(-1), sigmoid(-1), sigmoid(0)]
    )
    (_, reasons), (_, none) = reading.explained([{"message": "cancel"}, {"message": "the !"}], 3)
    assert reasons == [Reason("message", "cancel", 1.0)]
    assert none == []


def test_a_long_text_costs_no_memory_for_the_short_ones_beside_it(
    reading: OnlineModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    padded = bundle._padded
    monkeypatch.setattr(bundle, "_padded", lambda texts: sizes.append((made := padded(texts)).size) or made)
    rows = [{"message": "cancel"}] * 500 + [{"message": "cancel " * 5_000}] + [{"message": None}] * 500

    found = reading.probabilities(rows)

    assert found.tolist() == pytest.approx([sigmoid(0)] * 500 + [sigmoid(4_999)] + [sigmoid(-1)] * 500)
    assert sum(sizes) < 1_000_000
    assert reading.probabilities([]).tolist() == []


def test_the_texts_of_a_request_are_split_once(reading: OnlineModel, monkeypatch: pytest.MonkeyPatch) -> None:
    split: list[str | None] = []
    words = bundle.words
    monkeypatch.setattr(bundle, "words", lambda text, config: split.append(text) or words(text, config))

    reading.explained([{"message": "cancel it"}, {"message": "hello"}], 3)

    assert split == ["cancel it", "hello"]
