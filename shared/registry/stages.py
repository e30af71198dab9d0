"""What a saved pipeline may be made of, looked up in its files before Spark imports any class they name.

Spark loads whatever class the metadata of a stage names, from wherever it is installed, and joins the names of stages to
the path it reads. So each name is compared with a list, also those of models registered elsewhere.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from shared.core.errors import ModelError
from shared.registry.statements import flaw

PIPELINE: Final = "sparkml"
"""Folder of the pipeline inside a logged model."""

_IN: Final[Mapping[str, str]] = {
    "classification": "DecisionTreeClassificationModel FMClassificationModel GBTClassificationModel LinearSVCModel "
    "LogisticRegressionModel MultilayerPerceptronClassificationModel NaiveBayesModel RandomForestClassificationModel",
    "clustering": "BisectingKMeansModel DistributedLDAModel GaussianMixtureModel KMeansModel LocalLDAModel",
    "feature": "Binarizer BucketedRandomProjectionLSHModel Bucketizer ChiSqSelectorModel ColumnPruner CountVectorizerModel "
    "DCT ElementwiseProduct FeatureHasher HashingTF IDFModel ImputerModel IndexToString Interaction MaxAbsScalerModel "
    "MinHashLSHModel MinMaxScalerModel NGram Normalizer OneHotEncoderModel PCAModel PolynomialExpansion RFormulaModel "
    "RegexTokenizer RobustScalerModel SQLTransformer StandardScalerModel StopWordsRemover StringIndexerModel "
    "TargetEncoderModel Tokenizer UnivariateFeatureSelectorModel VarianceThresholdSelectorModel VectorAssembler "
    "VectorAttributeRewriter VectorIndexerModel VectorSizeHint VectorSlicer Word2VecModel",
    "fpm": "FPGrowthModel",
    "recommendation": "ALSModel",
    "regression": "AFTSurvivalRegressionModel DecisionTreeRegressionModel FMRegressionModel GBTRegressionModel "
    "GeneralizedLinearRegressionModel IsotonicRegressionModel LinearRegressionModel RandomForestRegressionModel",
}
# Left out on purpose: models that hold estimators (OneVsRestModel, CrossValidatorModel, TrainValidationSplitModel).
ALLOWED: Final = frozenset(
    f"{root}.{module}.{name}"
    for root in ("org.apache.spark.ml", "pyspark.ml")
    for module, names in _IN.items()
    for name in names.split()
) | {"org.apache.spark.ml.PipelineModel", "pyspark.ml.pipeline.PipelineModel"}

_UID: Final = re.compile(r"\A(?!-|.*--)[A-Za-z0-9_-]+\Z")  # it goes into SQL, where -- begins a comment
# The files beside a stage's metadata that Spark does not read, the last two of Databricks, and the one that it does.
_UNREAD: Final = re.compile(r"\.|_SUCCESS\Z|_(started|committed)_[0-9]+\Z")
_READ: Final = re.compile(r"part-[A-Za-z0-9-]+(\.txt)?\Z")


def check(folder: Path) -> None:
    """Refuse a logged model in ``folder`` that would load anything but Spark's own fitted stages.

    Raises:
        ModelError: STAGE_NOT_ALLOWED.
    """
    _check_flavor(folder / "MLmodel")
    pipeline = folder / PIPELINE
    # Spark reads a plain file of that name too, and some file systems take names in any case.
    described = sorted(path for path in pipeline.rglob("*") if path.name.lower() == "metadata")
    if pipeline / "metadata" not in described:
        raise _refused("The model has no pipeline")
    for metadata in described:
        where = metadata.relative_to(folder).as_posix()
        try:
            stage = document(metadata)
        except (OSError, ValueError, RecursionError):
            raise _refused(f"{where} cannot be read as the metadata of a stage") from None
        _check_stage(stage, where)


def _check_stage(stage: Mapping[str, Any], where: str) -> None:
    name = stage.get("class")
    if not isinstance(name, str) or name not in ALLOWED:
        raise _refused(f"{where} names the class {name!r}")
    uids = [stage.get("uid")]
    for kind in ("paramMap", "defaultParamMap"):  # Spark sets a parameter from either
        params = stage.get(kind, {})
        if not isinstance(params, dict):
            raise _refused(f"The {kind} of {where} is no mapping")
        uids += params.get("stageUids", ())
        if "statement" in params:
            found = flaw(params["statement"])
            if found:
                raise _refused(f"The SQL statement of {where} {found}")
    for uid in uids:
        if not isinstance(uid, str) or not _UID.match(uid):
            raise _refused(f"{where} names the stage {uid!r}, which may lead out of the model")


def _check_flavor(file: Path) -> None:
    flavors = yaml.safe_load(file.read_text(encoding="utf-8"))["flavors"] if file.is_file() else {}
    spark = flavors.get("spark", {})
    if spark.get("model_data") != PIPELINE or spark.get("code") or spark.get("model_class") not in (None, *ALLOWED):
        raise _refused(f"MLmodel describes the Spark model as {spark}")


def document(metadata: Path) -> dict[str, Any]:
    """Return the metadata of a stage, of a folder that holds nothing else that Spark might read in its place.

    Spark takes the first line of the largest file, be it `_x=1`, in a folder `x=1` or packed.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not as Spark saves it.
    """
    (part,) = (path for path in metadata.iterdir() if path.is_dir() or not _UNREAD.match(path.name))
    found = json.loads(part.read_bytes().decode(), object_pairs_hook=_without_doubles)
    if not _READ.match(part.name) or not isinstance(found, dict):
        raise ValueError(f"{part} is no metadata")
    return found


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of a name that is there twice, Java and Python may take another value each.
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError
    return dict(pairs)


def _refused(found: str) -> ModelError:
    return ModelError(
        "STAGE_NOT_ALLOWED",
        f"{found}; nothing of it was loaded.",
        "Spark's own fitted stages, as listed in shared/registry/stages.py, and SQL as in statements.py there.",
        "Find out who registered it; train again.",
    )
