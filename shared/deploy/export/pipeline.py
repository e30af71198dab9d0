"""A saved pipeline as one ONNX model: numbers and texts of a row in, its probability out."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto

from shared.deploy.export import stages
from shared.deploy.export.graph import Graph
from shared.deploy.export.saved import stages as saved_stages
from shared.deploy.online.bundle import CATEGORICAL, NUMERIC, WORDS


def to_onnx(
    folder: Path, *, numeric: Sequence[str], categorical: Sequence[str], output: str, words: Sequence[str] = ()
) -> onnx.ModelProto:
    """Return the pipeline saved in ``folder`` as an ONNX model.

    Inputs ``numeric``, doubles ``[rows, len(numeric)]`` where NaN stands for null, and ``categorical``, texts
    ``[rows, len(categorical)]``, where what no level is stands for null; one without columns is left out. Each column of ``words``, an array of texts, is an input of its own, ``words_0``, …:
    texts ``[rows, longest]``, padded with empty ones. The result is ``output``, doubles ``[rows, 1]``.

    Args:
        folder: what Spark wrote.
        numeric, categorical: columns that the pipeline reads, in the order of the inputs.
        words: columns of words that it reads.
        output: column that the pipeline makes.

    Raises:
        ModelError: EXPORT_UNSUPPORTED or MODEL_UNREADABLE.
    """
    graph = Graph()
    graph.input(NUMERIC, numeric, TensorProto.DOUBLE)
    graph.input(CATEGORICAL, categorical, TensorProto.STRING)
    for place, name in enumerate(words):
        graph.words(WORDS.format(place=place), name)
    for stage in saved_stages(folder):
        stages.add(graph, stage)
    return graph.model(output, output)
