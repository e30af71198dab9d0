"""An ONNX graph while it is built: where the columns of the DataFrame are, and the operations so far.

A column is a slice of a matrix ``[rows, width]`` of doubles or texts, so that one operation serves many columns. A double
that is null is NaN here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shared.core.errors import ModelError, did_you_mean

OPSET: Final = 20  # the first with StringConcat
ML_OPSET: Final = 5  # the first whose trees take doubles and sets of levels
ML: Final = "ai.onnx.ml"
_IR_VERSION: Final = 10


@dataclass(frozen=True)
class Place:
    """Where a column is: a number is one wide, a vector as wide as it has elements."""

    tensor: str
    start: int
    width: int


class Graph:
    """Collects operations; `columns` maps the name of a column to its place."""

    def __init__(self) -> None:
        self.columns: dict[str, Place] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._widths: dict[str, int] = {}

    def input(self, name: str, columns: Sequence[str], kind: int) -> None:
        """Declare a matrix of the request with these columns; none is no input."""
        if columns:
            self._inputs.append(helper.make_tensor_value_info(name, kind, [None, len(columns)]))
            self.put(name, columns)

    def words(self, name: str, column: str) -> None:
        """Declare ``name``, texts ``[rows, longest]`` padded with empty ones, as the words of a column."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.STRING, [None, None]))
        self.columns[column] = Place(name, 0, 0)

    def put(self, tensor: str, columns: Sequence[str]) -> None:
        """Say that the columns of ``tensor``, each one wide, are these."""
        self._widths[tensor] = len(columns)
        self.columns |= {name: Place(tensor, place, 1) for place, name in enumerate(columns)}

    def put_vector(self, tensor: str, name: str, width: int) -> None:
        """Say that the whole of ``tensor`` is the vector column ``name``."""
        self._widths[tensor] = width
        self.columns[name] = Place(tensor, 0, width)

    def put_slices(self, tensor: str, widths: Sequence[tuple[str, int]]) -> None:
        """Say that ``tensor`` holds these vector columns, one beside the other."""
        start = 0
        for name, width in widths:
            self.columns[name] = Place(tensor, start, width)
            start += width
        self._widths[tensor] = start

    def place(self, name: str) -> Place:
        """Return where a column is.

        Raises:
            ModelError: EXPORT_UNSUPPORTED; no stage that is exported makes it.
        """
        if name not in self.columns:
            hint = did_you_mean(name, self.columns)
            raise unsupported(f"column {name!r}, which no exported stage makes. {hint}".rstrip())
        return self.columns[name]

    def gather(self, names: Sequence[str]) -> str:
        """Return the matrix of these columns, one beside the other."""
        return self.slices([self.place(name) for name in names])

    def slices(self, places: Sequence[Place]) -> str:
        """Return the matrix of these places, one beside the other, in as few operations as runs of neighbours."""
        runs: list[tuple[str, list[int]]] = []
        for place in places:
            own = list(range(place.start, place.start + place.width))
            if runs and runs[-1][0] == place.tensor:
                runs[-1][1].extend(own)
            else:
                runs.append((place.tensor, own))
        parts = [self._taken(tensor, indices) for tensor, indices in runs]
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=1)

    def _taken(self, tensor: str, indices: list[int]) -> str:
        if indices == list(range(self._widths[tensor])):
            return tensor
        return self.add("Gather", tensor, self.constant(np.array(indices, np.int64)), axis=1)

    def constant(self, values: NDArray[Any]) -> str:
        """Return the name of a constant tensor."""
        name = f"c{len(self._constants)}"
        values = values if values.dtype == object else np.ascontiguousarray(values)
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def add(self, operation: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operation with one result and return its name."""
        name = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(operation, inputs, [name], domain=domain, **attributes))
        return name

    def model(self, output: str, name: str) -> onnx.ModelProto:
        """Return the checked model that gives the one-wide column ``output`` as the tensor ``name`` ``[rows, 1]``."""
        self._nodes.append(helper.make_node("Identity", [self.gather([output])], [name]))
        result = helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, 1])
        graph = helper.make_graph(self._nodes, "pipeline", self._inputs, [result], self._constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)],
            ir_version=_IR_VERSION,
            producer_name="spark-accelerators",
        )
        onnx.checker.check_model(model)
        return model


def unsupported(what: str) -> ModelError:
    """Return the error of a pipeline that holds ``what``, for which there is no exporter."""
    return ModelError(
        "EXPORT_UNSUPPORTED",
        f"The pipeline has {what}.",
        "Stages and expressions that shared/deploy/export knows.",
        "Score in batches, or set serving.export=false.",
    )
