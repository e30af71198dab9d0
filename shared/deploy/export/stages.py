"""Each kind of stage as ONNX operations; a kind that is not here is refused."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from shared.deploy.export import expressions, trees
from shared.deploy.export.graph import ML, Graph, unsupported
from shared.deploy.export.saved import Stage

_SEPARATOR: Final = "\x1f"  # between the name of a column and a level of it
_DENSE: Final = 1


def add(graph: Graph, stage: Stage) -> None:
    """Add what the stage computes to the graph.

    Raises:
        ModelError: EXPORT_UNSUPPORTED; there is no exporter for the stage, or for the way it is set up.
    """
    if stage.kind not in _EXPORTERS:
        raise unsupported(f"a {stage.kind}")
    _EXPORTERS[stage.kind](graph, stage)


def _sql(graph: Graph, stage: Stage) -> None:
    expressions.transform(graph, stage.params["statement"])


def _imputer(graph: Graph, stage: Stage) -> None:
    inputs, outputs, values = stage.columns("input"), stage.columns("output"), stage.row()
    if stage.params.get("missingValue") not in (None, "NaN") and not np.isnan(stage.params["missingValue"]):
        raise unsupported(f"an Imputer of {stage.params['missingValue']}")
    matrix = graph.gather(inputs)
    surrogates = graph.constant(np.array([[float(values[name]) for name in inputs]]))
    graph.put(graph.add("Where", graph.add("IsNaN", matrix), surrogates, matrix), outputs)


def _indexer(graph: Graph, stage: Stage) -> None:
    """One look-up for all columns, of the level with its column's name before it; what is not found has the last place."""
    if stage.params["handleInvalid"] != "keep":
        raise unsupported(f"a StringIndexer with handleInvalid={stage.params['handleInvalid']}")
    inputs, outputs, levels = stage.columns("input"), stage.columns("output"), stage.row()["labelsArray"]
    prefixes = np.array([[f"{name}{_SEPARATOR}" for name in inputs]], object)
    keys = [f"{name}{_SEPARATOR}{level}" for name, own in zip(inputs, levels, strict=True) for level in own]
    places = np.concatenate([np.arange(len(own), dtype=np.float64) for own in levels])
    found = graph.add(
        "LabelEncoder",
        graph.add("StringConcat", graph.constant(prefixes), graph.gather(inputs)),
        domain=ML,
        keys_tensor=numpy_helper.from_array(np.array(keys, object)),
        values_tensor=numpy_helper.from_array(places),
        default_tensor=numpy_helper.from_array(np.array([-1.0])),
    )
    unknown = graph.constant(np.array([[float(len(own)) for own in levels]]))
    is_unknown = graph.add("Less", found, graph.constant(np.zeros((1, 1))))
    graph.put(graph.add("Where", is_unknown, unknown, found), outputs)


def _one_hot(graph: Graph, stage: Stage) -> None:
    inputs, outputs = stage.columns("input"), stage.columns("output")
    keeps, drops = stage.params["handleInvalid"] == "keep", bool(stage.params["dropLast"])
    widths = [int(size) + keeps - drops for size in stage.row()["categorySizes"]]
    repeated = [graph.place(name) for name, width in zip(inputs, widths, strict=True) for _ in range(width)]
    levels = np.concatenate([np.arange(width, dtype=np.float64) for width in widths]).reshape(1, -1)
    is_level = graph.add("Equal", graph.slices(repeated), graph.constant(levels))
    tensor = graph.add("Cast", is_level, to=TensorProto.DOUBLE)
    graph.put_slices(tensor, list(zip(outputs, widths, strict=True)))


def _counts(graph: Graph, stage: Stage) -> None:
    if stage.params["binary"] or stage.params["minTF"] != 1.0:
        raise unsupported("a CountVectorizer that is binary or has a minTF")
    vocabulary = stage.row()["vocabulary"]
    counts = graph.add(
        "TfIdfVectorizer",
        graph.place(stage.params["inputCol"]).tensor,
        mode="TF",
        min_gram_length=1,
        max_gram_length=1,
        max_skip_count=0,
        ngram_counts=[0],
        ngram_indexes=list(range(len(vocabulary))),
        pool_strings=vocabulary,
    )
    # Counts are whole numbers, which its single precision holds exactly.
    graph.put_vector(graph.add("Cast", counts, to=TensorProto.DOUBLE), stage.params["outputCol"], len(vocabulary))


def _idf(graph: Graph, stage: Stage) -> None:
    weights = _vector(stage.row()["idf"])
    counts = graph.gather([stage.params["inputCol"]])
    tensor = graph.add("Mul", counts, graph.constant(weights.reshape(1, -1)))
    graph.put_vector(tensor, stage.params["outputCol"], len(weights))


def _assembler(graph: Graph, stage: Stage) -> None:
    places = [graph.place(name) for name in stage.columns("input")]
    graph.put_vector(graph.slices(places), stage.params["outputCol"], sum(place.width for place in places))


def _logistic(graph: Graph, stage: Stage) -> None:
    row = stage.row()
    if row["numClasses"] != 2 or row["coefficientMatrix"]["numRows"] != 1:
        raise unsupported(f"a {stage.kind} of {row['numClasses']} classes")
    margin = _linear(graph, stage, _matrix(row["coefficientMatrix"])[0], _vector(row["interceptVector"])[0])
    _put_probability(graph, stage, graph.add("Sigmoid", margin))


def _linear_regression(graph: Graph, stage: Stage) -> None:
    row = stage.row()
    graph.put(_linear(graph, stage, _vector(row["coefficients"]), row["intercept"]), [stage.params["predictionCol"]])


def _linear(graph: Graph, stage: Stage, coefficients: NDArray[np.float64], intercept: float) -> str:
    weights = graph.constant(coefficients.reshape(-1, 1))
    product = graph.add("MatMul", graph.gather([stage.params["featuresCol"]]), weights)
    return graph.add("Add", product, graph.constant(np.array([[intercept]])))


def _trees(graph: Graph, stage: Stage) -> None:
    vector = graph.gather([stage.params["featuresCol"]])
    match stage.kind:
        case "DecisionTreeClassificationModel" | "RandomForestClassificationModel":
            _put_probability(graph, stage, trees.probability(graph, stage, vector))
        case "GBTClassificationModel":
            # The loss is 2 log(1 + exp(-2 y F)), so the odds are exp(2 F).
            margin = graph.add("Mul", trees.weighted_sum(graph, stage, vector), graph.constant(np.array([[2.0]])))
            _put_probability(graph, stage, graph.add("Sigmoid", margin))
        case "GBTRegressionModel":
            graph.put(trees.weighted_sum(graph, stage, vector), [stage.params["predictionCol"]])
        case _:
            graph.put(trees.mean(graph, stage, vector), [stage.params["predictionCol"]])


def _isotonic(graph: Graph, stage: Stage) -> None:
    """Straight lines between the boundaries, the outer predictions beyond: the first plus every rise up to the value."""
    row = stage.row()
    bounds, values = np.array(row["boundaries"]), np.array(row["predictions"])
    if not row["isotonic"]:
        raise unsupported("an IsotonicRegression that falls")
    value = graph.gather([stage.params["featuresCol"]])
    widths = np.diff(bounds)
    inside = graph.add("Sub", value, graph.constant(bounds[:-1].reshape(1, -1)))
    inside = graph.add(
        "Max", graph.add("Min", inside, graph.constant(widths.reshape(1, -1))), graph.constant(np.zeros((1, 1)))
    )
    risen = graph.add("MatMul", inside, graph.constant((np.diff(values) / widths).reshape(-1, 1)))
    graph.put(graph.add("Add", risen, graph.constant(values[:1].reshape(1, 1))), [stage.params["predictionCol"]])


def _put_probability(graph: Graph, stage: Stage, positive: str) -> None:
    negative = graph.add("Sub", graph.constant(np.ones((1, 1))), positive)
    both = graph.add("Concat", negative, positive, axis=1)
    graph.put_vector(both, stage.params["probabilityCol"], 2)


def _vector(saved: Mapping[str, Any]) -> NDArray[np.float64]:
    if saved["type"] == _DENSE:
        return np.array(saved["values"], np.float64)
    dense = np.zeros(saved["size"])
    dense[saved["indices"]] = saved["values"]
    return dense


def _matrix(saved: Mapping[str, Any]) -> NDArray[np.float64]:
    shape = (saved["numRows"], saved["numCols"])
    values = np.array(saved["values"], np.float64)
    if saved["type"] == _DENSE:
        return values.reshape(shape, order="C" if saved["isTransposed"] else "F")
    # By columns, or by rows when it is transposed.
    outer = np.repeat(np.arange(len(saved["colPtrs"]) - 1), np.diff(saved["colPtrs"]))
    inner = np.array(saved["rowIndices"], np.int64)
    dense = np.zeros(shape)
    dense[(outer, inner) if saved["isTransposed"] else (inner, outer)] = values
    return dense


_EXPORTERS: Final[Mapping[str, Callable[[Graph, Stage], None]]] = {
    "SQLTransformer": _sql,
    "ImputerModel": _imputer,
    "StringIndexerModel": _indexer,
    "OneHotEncoderModel": _one_hot,
    "CountVectorizerModel": _counts,
    "IDFModel": _idf,
    "VectorAssembler": _assembler,
    "LogisticRegressionModel": _logistic,
    "LinearRegressionModel": _linear_regression,
    "DecisionTreeClassificationModel": _trees,
    "DecisionTreeRegressionModel": _trees,
    "RandomForestClassificationModel": _trees,
    "RandomForestRegressionModel": _trees,
    "GBTClassificationModel": _trees,
    "GBTRegressionModel": _trees,
    "IsotonicRegressionModel": _isotonic,
}
