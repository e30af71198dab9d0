"""The export as part of a registered model: the bundle of the online service, made from what Spark saved."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from pyspark.sql import DataFrame

from shared.core.errors import EnvironmentProblem
from shared.features.words import WordsConfig
from shared.registry.stages import PIPELINE

_PACKAGES: Final = ("onnx", "onnxruntime", "sqlglot")
_KINDS: Final = {
    "array<string>": "text",
    "string": "string",
    "boolean": "boolean",
    "tinyint": "int",
    "smallint": "int",
    "int": "int",
    "bigint": "int",
}

_PLACES: Final = {"string": 1, "text": 2}


def check_packages() -> None:
    """Say what the export lacks, before hours of training.

    Raises:
        EnvironmentProblem: EXPORT_PACKAGES_MISSING.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise EnvironmentProblem(
            "EXPORT_PACKAGES_MISSING",
            f"The export needs {missing}.",
            "",
            "pip install onnx onnxruntime sqlglot, or set serving.export=false and gates.online_parity=false.",
        )


def exporter(
    *,
    vertical: str,
    rows: DataFrame,
    features: tuple[str, ...],
    typical: Mapping[str, Any],
    output: str,
    threshold: float,
    decisions: tuple[str, str],
    words: WordsConfig | None = None,
) -> Callable[[Path], None]:
    """Return what adds the bundle to the folder of a logged model; see `shared.registry.models.register`.

    Args:
        vertical: whose model it is.
        rows: rows with the feature columns, for their types; none are read.
        features: the columns that the pipeline reads.
        typical: feature → value that reasons compare with.
        output: column of the probability.
        threshold: from which the decision is the first of ``decisions``.
        decisions: names of the decision at or above the threshold, and below it.
        words: how a text became the words that the pipeline reads; None where it reads none.

    Raises:
        EnvironmentProblem: EXPORT_PACKAGES_MISSING.
    """
    check_packages()
    # Only who exports needs the packages.
    from shared.deploy.export.pipeline import to_onnx
    from shared.deploy.online import bundle

    types = dict(rows.dtypes)
    kinds: dict[str, Any] = {name: _KINDS.get(types[name], "double") for name in features}
    ordered = sorted(features, key=lambda name: _PLACES.get(kinds[name], 0))  # numbers first, else as they come
    contract = bundle.Contract(
        vertical=vertical,
        inputs={name: kinds[name] for name in ordered},
        typical={name: _as(kinds[name], typical[name]) for name in ordered},
        output=output,
        threshold=threshold,
        decisions=decisions,
        words=words,
    )

    def export(folder: Path) -> None:
        graph = to_onnx(
            folder / PIPELINE,
            numeric=contract.numeric,
            categorical=contract.categorical,
            words=contract.texts,
            output=output,
        )
        bundle.write(folder / bundle.FOLDER, contract, graph.SerializeToString())

    return export


def _as(kind: str, value: Any) -> Any:
    """Return a typical value, which is a double for every number, as what the feature is."""
    match kind:
        case _ if value is None:
            return None
        case "int":
            return int(value)
        case "boolean":
            return bool(value)
        case "text":
            return " ".join(value)
    return value
