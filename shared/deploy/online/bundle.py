"""What the online service loads: a folder with the exported graph, and the contract that says how to ask it.

Read by the service and by the comparison with Spark alike, so what is compared is what will answer.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as states

from shared.core.config import Settings
from shared.core.errors import ModelError

FOLDER: Final = "online"
"""Where the bundle lies among the files of a registered model."""

_MODEL, _CONTRACT = "model.onnx", "contract.json"
_NO_LEVEL: Final = "\x1fnull"  # is in no training data: control characters are not
_CLIP: Final = 1e-6
_BROKEN: Final = (
    states.Fail,
    states.InvalidProtobuf,
    states.InvalidGraph,
    states.InvalidArgument,
    states.NotImplemented,
)

Kind = Literal["double", "int", "boolean", "string"]
Value = float | int | bool | str | None
Row = Mapping[str, Value]


class Contract(Settings):
    """How to ask an exported model.

    Args:
        vertical: whose model it is.
        inputs: feature → kind, numbers first, in the order of the graph's inputs.
        typical: feature → value of the training rows, which reasons compare with; None where none is known.
        output: name of the graph's result.
        threshold: probability from which a decision is the first of ``decisions``, by the costs of training.
        decisions: names of the decision at or above the threshold, and below it.
    """

    vertical: str
    inputs: Mapping[str, Kind]
    typical: Mapping[str, Value]
    output: str
    threshold: float
    decisions: tuple[str, str]

    @property
    def numeric(self) -> tuple[str, ...]:
        """The features that are numbers."""
        return tuple(name for name, kind in self.inputs.items() if kind != "string")

    @property
    def categorical(self) -> tuple[str, ...]:
        """The features that are texts."""
        return tuple(name for name, kind in self.inputs.items() if kind == "string")


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
        asked: dict[str, Any] = {}
        if self.contract.numeric:
            asked["numeric"] = np.array([[_number(row.get(name)) for name in self.contract.numeric] for row in rows])
        if self.contract.categorical:
            texts = [[_text(row.get(name)) for name in self.contract.categorical] for row in rows]
            asked["categorical"] = np.array(texts, object)
        result: NDArray[np.float64] = self._session.run([self.contract.output], asked)[0]
        return result.ravel()

    def explained(self, rows: Sequence[Row], count: int) -> list[tuple[float, list[Reason]]]:
        """Return for each row its probability and the ``count`` features that move it most, the largest first.

        The contribution of a feature is the change of the log-odds when its value takes the place of the typical one,
        rounded to 6 digits; features with the typical value are left out; ties go by name.
        """
        changed = [self._differing(row) if count else [] for row in rows]
        variants = [
            variant
            for row, names in zip(rows, changed, strict=True)
            for variant in (row, *({**row, name: self.contract.typical[name]} for name in names))
        ]
        scored = iter(self.probabilities(variants).tolist())
        answers: list[tuple[float, list[Reason]]] = []
        for row, names in zip(rows, changed, strict=True):
            probability = next(scored)
            moved = [Reason(name, row.get(name), _moved(probability, next(scored))) for name in names]
            moved.sort(key=lambda reason: (-abs(reason.contribution), reason.feature))
            answers.append((probability, moved[:count]))
        return answers

    def _differing(self, row: Row) -> list[str]:
        typical = self.contract.typical
        return [name for name in self.contract.inputs if not _is_same(row.get(name), typical[name])]


def write(folder: Path, contract: Contract, graph: bytes) -> None:
    """Write a bundle into ``folder``, which is made."""
    folder.mkdir(parents=True)
    (folder / _MODEL).write_bytes(graph)
    (folder / _CONTRACT).write_text(json.dumps(contract.model_dump(mode="json"), indent=1), encoding="utf-8")


def _number(value: Value) -> float:
    return math.nan if value is None else float(value)


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
