"""Decision trees of MLlib, one or many, as one TreeEnsemble operation in doubles.

Spark goes left when a number is at most the threshold, or a level is in the set of the left. Built from arrays, not node by
node: a forest has tens of thousands of them.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from onnx import numpy_helper

from shared.deploy.export.graph import ML, Graph, unsupported
from shared.deploy.export.saved import Stage

_AT_MOST: Final = 0
_MEMBER: Final = 6
_SUM: Final = 1


@dataclass(frozen=True)
class _Nodes:
    """The nodes of all trees, an entry each, in the order (tree, id); ids of a tree are 0, 1, … as Spark writes them."""

    tree: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    is_set: NDArray[np.bool_]
    bounds: pa.ChunkedArray
    prediction: NDArray[np.float64]
    statistics: pa.ChunkedArray

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        return self.left < 0

    @property
    def first(self) -> NDArray[np.int64]:
        """Return the entry of each tree's root."""
        return np.flatnonzero(np.diff(self.tree, prepend=-1))


def probability(graph: Graph, stage: Stage, vector: str) -> str:
    """Return ``[rows, 1]``: the mean over the trees of the share of class 1 in the leaf (classifiers, not boosted).

    Raises:
        ModelError: EXPORT_UNSUPPORTED; more than two classes.
    """
    nodes = _nodes(stage)
    statistics = _matrix_of(nodes.statistics)
    if statistics.shape[1] != 2:
        raise unsupported(f"a {stage.kind} of {statistics.shape[1]} classes")
    return _ensemble(graph, nodes, vector, statistics[:, 1] / statistics.sum(axis=1) / len(nodes.first))


def mean(graph: Graph, stage: Stage, vector: str) -> str:
    """Return ``[rows, 1]``: the mean of the leaves' predictions (regressors, not boosted)."""
    nodes = _nodes(stage)
    return _ensemble(graph, nodes, vector, nodes.prediction / len(nodes.first))


def weighted_sum(graph: Graph, stage: Stage, vector: str) -> str:
    """Return ``[rows, 1]``: the sum of the leaves' predictions, each times the weight of its tree (boosted)."""
    nodes = _nodes(stage)
    rows = stage.table("treesMetadata").sort_by("_1")
    weights = rows.column("_3").to_numpy()
    return _ensemble(
        graph, nodes, vector, nodes.prediction * weights[np.cumsum(np.diff(nodes.tree, prepend=-1) > 0) - 1]
    )


def _nodes(stage: Stage) -> _Nodes:
    table = stage.table()
    # A single tree is saved without the number of the tree.
    data = table.flatten() if "nodeData" in table.column_names else table
    names = {name: name.removeprefix("nodeData.") for name in data.column_names}
    data = data.rename_columns([names[name] for name in data.column_names])
    if "treeID" not in data.column_names:
        data = data.append_column("treeID", pa.array(np.zeros(len(data), np.int32)))
    data = data.sort_by([("treeID", "ascending"), ("id", "ascending")])
    split = data.column("split").combine_chunks()
    return _Nodes(
        tree=data.column("treeID").to_numpy().astype(np.int64),
        left=data.column("leftChild").to_numpy().astype(np.int64),
        right=data.column("rightChild").to_numpy().astype(np.int64),
        feature=split.field("featureIndex").to_numpy().astype(np.int64),
        is_set=split.field("numCategories").to_numpy() >= 0,
        bounds=split.field("leftCategoriesOrThreshold"),
        prediction=data.column("prediction").to_numpy(),
        statistics=data.column("impurityStats").combine_chunks(),
    )


def _matrix_of(lists: Any) -> NDArray[np.float64]:
    lengths = np.unique(pc.list_value_length(lists).to_numpy())
    if len(lengths) != 1:
        raise unsupported("trees whose leaves count different classes")
    values: NDArray[np.float64] = pc.list_flatten(lists).to_numpy()
    return values.reshape(-1, int(lengths[0]))


def _ensemble(graph: Graph, nodes: _Nodes, vector: str, leaf_value: NDArray[np.float64]) -> str:
    leaf, inner = nodes.is_leaf, ~nodes.is_leaf
    first = nodes.first
    of_tree = np.cumsum(np.diff(nodes.tree, prepend=-1) > 0) - 1
    # A tree that is a leaf only still needs a node, both of whose branches end in it.
    lone = first[leaf[first]]
    is_node = inner.copy()
    is_node[lone] = True
    node_number, leaf_number = np.cumsum(is_node) - 1, np.cumsum(leaf) - 1

    def child(which: NDArray[np.int64]) -> tuple[list[int], list[int]]:
        entry = first[of_tree] + which
        entry[lone] = lone
        entry = entry[is_node]
        ends = leaf[entry]
        return np.where(ends, leaf_number[entry], node_number[entry]).tolist(), ends.astype(np.int64).tolist()

    (left, left_ends), (right, right_ends) = child(nodes.left), child(nodes.right)
    counts = pc.list_value_length(nodes.bounds).to_numpy()
    starts = np.cumsum(counts) - counts
    values = pc.list_flatten(nodes.bounds).to_numpy()
    is_set = nodes.is_set & (counts > 0)
    thresholds = np.full(len(leaf), -np.inf)  # an empty set holds nothing
    is_number = inner & ~nodes.is_set
    thresholds[is_number] = values[starts[is_number]]
    thresholds[is_set] = 0.0
    members = [
        np.append(values[starts[entry] : starts[entry] + counts[entry]], np.nan)
        for entry in np.flatnonzero(is_set & inner)
    ]
    return graph.add(
        "TreeEnsemble",
        vector,
        domain=ML,
        aggregate_function=_SUM,
        n_targets=1,
        tree_roots=node_number[first].tolist(),
        nodes_featureids=np.where(inner, nodes.feature, 0)[is_node].tolist(),
        nodes_modes=numpy_helper.from_array(np.where(is_set & inner, _MEMBER, _AT_MOST)[is_node].astype(np.uint8)),
        nodes_splits=numpy_helper.from_array(thresholds[is_node]),
        nodes_truenodeids=left,
        nodes_trueleafs=left_ends,
        nodes_falsenodeids=right,
        nodes_falseleafs=right_ends,
        leaf_targetids=np.zeros(int(leaf.sum()), np.int64).tolist(),
        leaf_weights=numpy_helper.from_array(leaf_value[leaf]),
        **({"membership_values": numpy_helper.from_array(np.concatenate(members))} if members else {}),
    )
