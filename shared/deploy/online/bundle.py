"""What the online service loads: a folder with the exported graph, and the contract that says how to ask it.

Read by the service and by the comparison with Spark alike, so what is compared is what will answer.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as states

from shared.core.config import Settings
from shared.core.errors import ModelError
from shared.features.words import WordsConfig, words

FOLDER: Final = "online"
"""Where the bundle lies among the files of a registered model."""

NUMERIC: Final = "numeric"
CATEGORICAL: Final = "categorical"
WORDS: Final = "words_{place}"
"""Inputs of the graph, as `shared.deploy.export.pipeline` makes them."""

_MODEL, _CONTRACT = "model.onnx", "contract.json"
_NO_LEVEL: Final = "\x1fnull"  # is in no training data: control characters are not
_CLIP: Final = 1e-6
_BROKEN: Final = (
    states.Fail,
    states.InvalidProtobuf,
    states.InvalidGraph,
    states.InvalidArgument,
    states.NotImplemented,
    states.RuntimeException,
    states.NoModel,
)
_CELLS: Final = 32_000  # words handed over at once: meanwhile other threads wait

Kind = Literal["double", "int", "boolean", "string", "text"]
Value = float | int | bool | str | Sequence[str] | None
"""Of a feature; a text may also be given as its words, a list or tuple, which no request can."""

Row = Mapping[str, Value]


class Contract(Settings):
    """How to ask an exported model.

    Args:
        vertical: whose model it is.
        inputs: feature → kind, numbers first, in the order of the graph's inputs. A ``text`` is sent as it was written, and
            becomes words by ``words``.
        typical: feature → value of the training rows, which reasons compare with; None where none is known.
        output: name of the graph's result.
        threshold: probability from which a decision is the first of ``decisions``, by the costs of training.
        decisions: names of the decision at or above the threshold, and below it.
        words: how a text becomes words; None where no feature is a text.
    """

    vertical: str
    inputs: Mapping[str, Kind]
    typical: Mapping[str, Value]
    output: str
    threshold: float
    decisions: tuple[str, str]
    words: WordsConfig | None = None

    @property
    def numeric(self) -> tuple[str, ...]:
        """The features that are numbers."""
        return tuple(name for name, kind in self.inputs.items() if kind not in ("string", "text"))

    @property
    def categorical(self) -> tuple[str, ...]:
        """The features that are texts."""
        return tuple(name for name, kind in self.inputs.items() if kind == "string")

    @property
    def texts(self) -> tuple[str, ...]:
        """The features that are written by people."""
        return tuple(name for name, kind in self.inputs.items() if kind == "text")


@dataclass(frozen=True)
class Reason:
    """A feature whose value moves the log-odds by ``contribution`` from what they were with the typical value."""

    feature: str
    value: Value
    contribution: float


class OnlineModel:
    """The exported model in memory; answers from one thread each, and may be asked by several."""

    def __init__(self, contract: Contract, graph: bytes) -> None:
        self.contract = contract
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # a request is small: threads cost more than they give
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._typical: Row = {**contract.typical, **self._as_words(contract.typical)}

    @classmethod
    def read(cls, folder: Path) -> "OnlineModel":
        """Return the model of a bundle; whoever calls has verified the files.

        Raises:
            ModelError: BUNDLE_UNREADABLE.
        """
        try:
            contract = Contract.model_validate_json((folder / _CONTRACT).read_text(encoding="utf-8"))
            return cls(contract, (folder / _MODEL).read_bytes())
        except (OSError, ValueError, *_BROKEN) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise ModelError("BUNDLE_UNREADABLE", f"{folder}: {reason}.", "", "Train again.") from error

    def probabilities(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """Return the probability of each row; a feature that a row lacks is null.

        Null and NaN are the same, as are null and a level that training did not have.
        """
        if not self.contract.texts:
            return self._scored(rows, [])
        columns = [[self._split(row.get(name)) for row in rows] for name in self.contract.texts]
        lengths = [max(map(len, texts)) for texts in zip(*columns, strict=True)]
        parts = [
            self._scored(rows[begin:end], [column[begin:end] for column in columns]) for begin, end in _parts(lengths)
        ]
        return np.concatenate(parts) if parts else np.empty(0)

    def _scored(self, rows: Sequence[Row], texts: Sequence[Sequence[tuple[str, ...]]]) -> NDArray[np.float64]:
        asked: dict[str, Any] = {}
        if self.contract.numeric:
            asked[NUMERIC] = np.array([[_number(row.get(name)) for name in self.contract.numeric] for row in rows])
        if self.contract.categorical:
            levels = [[_text(row.get(name)) for name in self.contract.categorical] for row in rows]
            asked[CATEGORICAL] = np.array(levels, object)
        for place, column in enumerate(texts):
            asked[WORDS.format(place=place)] = _padded(column)
        result: NDArray[np.float64] = self._session.run([self.contract.output], asked)[0]
        return result.ravel()

    def _as_words(self, row: Row) -> dict[str, tuple[str, ...]]:
        return {name: self._split(row.get(name)) for name in self.contract.texts}

    def _split(self, text: Value) -> tuple[str, ...]:
        if isinstance(text, tuple):
            return text
        if isinstance(text, str) or text is None:
            return tuple(words(text, self.contract.words or WordsConfig()))
        return tuple(text) if isinstance(text, Sequence) else (str(text),)

    def explained(self, rows: Sequence[Row], count: int) -> list[tuple[float, list[Reason]]]:
        """Return for each row its probability and the ``count`` features that move it most, the largest first.

        The contribution of a feature is the change of the log-odds when its value takes the place of the typical one,
        rounded to 6 digits; features with the typical value are left out; ties go by name. The value of a text is its
        words.
        """
        # A row is scored again with each feature changed: its texts are split once.
        rows = [{**row, **self._as_words(row)} for row in rows]
        changed = [self._differing(row) if count else [] for row in rows]
        variants = [
            variant
            for row, names in zip(rows, changed, strict=True)
            for variant in (row, *({**row, name: self._typical[name]} for name in names))
        ]
        scored = iter(self.probabilities(variants).tolist())
        answers: list[tuple[float, list[Reason]]] = []
        for row, names in zip(rows, changed, strict=True):
            probability = next(scored)
            moved = [Reason(name, self._shown(name, row), _moved(probability, next(scored))) for name in names]
            moved.sort(key=lambda reason: (-abs(reason.contribution), reason.feature))
            answers.append((probability, moved[:count]))
        return answers

    def _shown(self, name: str, row: Row) -> Value:
        value = row.get(name)
        return " ".join(value) if isinstance(value, tuple) else value

    def _differing(self, row: Row) -> list[str]:
        return [name for name in self.contract.inputs if not _is_same(row.get(name), self._typical[name])]


def write(folder: Path, contract: Contract, graph: bytes) -> None:
    """Write a bundle into ``folder``, which is made."""
    folder.mkdir(parents=True)
    (folder / _MODEL).write_bytes(graph)
    (folder / _CONTRACT).write_text(json.dumps(contract.model_dump(mode="json"), indent=1), encoding="utf-8")


def _number(value: Value) -> float:
    return math.nan if value is None or isinstance(value, Sequence) else float(value)


def _parts(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Give begin and end of runs of rows that are small enough once each is padded to the longest of its run.

    >>> list(_parts([1, 1, _CELLS, 1]))
    [(0, 2), (2, 3), (3, 4)]
    """
    begin, longest = 0, 0
    for place, length in enumerate(lengths):
        longest = max(longest, length)
        if place > begin and longest * (place + 1 - begin) > _CELLS:
            yield begin, place
            begin, longest = place, length
    if lengths:
        yield begin, len(lengths)


def _padded(texts: Sequence[tuple[str, ...]]) -> NDArray[Any]:
    padded = np.full((len(texts), max(1, *map(len, texts))), "", object)
    for place, found in enumerate(texts):
        padded[place, : len(found)] = found
    return padded


def _text(value: Value) -> str:
    return _NO_LEVEL if value is None else str(value)


def _is_same(value: Value, typical: Value) -> bool:
    both_nan = isinstance(value, float) and isinstance(typical, float) and math.isnan(value) and math.isnan(typical)
    return both_nan or value == typical


def _moved(probability: float, without: float) -> float:
    return round(_log_odds(probability) - _log_odds(without), 6)


def _log_odds(probability: float) -> float:
    clipped = max(min(probability, 1 - _CLIP), _CLIP)
    return math.log(clipped / (1 - clipped))
