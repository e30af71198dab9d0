"""A small exported model, without Spark: probability = sigmoid(2 x - 1 + (1 for plan "a")), null x is 0."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from shared.deploy.export import expressions
from shared.deploy.export.graph import Graph
from shared.deploy.online import bundle
from shared.deploy.online.bundle import Contract, OnlineModel

CONTRACT = Contract(
    vertical="example",
    inputs={"x": "double", "visits": "int", "is_new": "boolean", "plan": "string"},
    typical={"x": 0.5, "visits": 2, "is_new": False, "plan": "b"},
    output="probability",
    threshold=0.5,
    decisions=("contact", "leave"),
)


def graph(slope: float = 2.0, tail: str = "0.0D") -> bytes:
    made = Graph()
    made.input("numeric", CONTRACT.numeric, TensorProto.DOUBLE)
    made.input("categorical", CONTRACT.categorical, TensorProto.STRING)
    is_a = made.add("Equal", made.gather(["plan"]), made.constant(np.array([["a"]], object)))
    made.put(made.add("Cast", is_a, to=TensorProto.DOUBLE), ["a"])
    term = f"1 / (1 + exp(-({slope}D * coalesce(`x`, 0) - 1 + `a` + {tail}))) AS probability"
    expressions.transform(made, f"SELECT *, {term} FROM __THIS__")
    return made.model("probability", "probability").SerializeToString()


@pytest.fixture(scope="session")
def model() -> OnlineModel:
    return OnlineModel(CONTRACT, graph())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle.write(tmp_path / "online", CONTRACT, graph())
    return tmp_path / "online"
