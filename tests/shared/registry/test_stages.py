"""A saved pipeline that names anything but Spark's own fitted stages is refused before anything is imported."""

import gzip
import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from typing import Any

import pyspark.ml
import pytest
from pyspark.ml import Transformer
from pyspark.ml.util import MLReadable

from shared.core.errors import ModelError
from shared.registry import stages

PIPELINE = {"class": "org.apache.spark.ml.PipelineModel", "uid": "PipelineModel_1", "paramMap": {"stageUids": ["S_1"]}}
STAGE = {
    "class": "org.apache.spark.ml.feature.SQLTransformer",
    "uid": "S_1",
    "paramMap": {"statement": "SELECT *, x + 1 AS reflected FROM __THIS__"},
}
SPARK = {"model_data": "sparkml", "code": None, "model_class": "pyspark.ml.pipeline.PipelineModel"}


def saved(folder: Path, stage: dict[str, Any] | str, pipeline: Any = PIPELINE, spark: Any = SPARK) -> Path:
    """Write a logged model of one stage; metadata given as text is written as it is."""
    (folder / "MLmodel").write_text(json.dumps({"flavors": {"spark": spark}}))
    for path, document in (("metadata", pipeline), ("stages/0_S_1/metadata", stage)):
        metadata = folder / "sparkml" / path
        metadata.mkdir(parents=True)
        (metadata / "part-00000").write_text(document if isinstance(document, str) else json.dumps(document))
        (metadata / "_SUCCESS").write_text("")
        (metadata / ".part-00000.crc").write_bytes(b"\xff")
    return folder


def test_sparks_own_stages_are_allowed(tmp_path: Path) -> None:
    stages.check(saved(tmp_path, STAGE))


def test_what_a_text_in_a_statement_says_is_no_matter(tmp_path: Path) -> None:
    statement = r"SELECT *, coalesce(`plan`, '-- \'none\' /* reflect (x) */ ''$') AS `a--b` FROM __THIS__"

    stages.check(saved(tmp_path, {**STAGE, "paramMap": {"statement": statement}}))


@pytest.mark.parametrize(
    "stage",
    [
        {**STAGE, "class": "os.system"},
        {**STAGE, "class": "evil.feature.SQLTransformer"},
        {**STAGE, "class": "pyspark.ml.feature.SQLTransformer.__init__"},
        {**STAGE, "class": "pyspark.ml.torch.distributor.TorchDistributor"},
        {**STAGE, "class": None},
        {"uid": "S_1"},
        {**STAGE, "uid": "../../../elsewhere"},
        {**STAGE, "paramMap": {"stageUids": ["../x"]}},
        {**STAGE, "paramMap": {"statement": "SELECT Reflect('java.lang.System', 'exit', 1) FROM __THIS__"}},
        {**STAGE, "paramMap": {"statement": "SELECT `java_method`('a', 'b') FROM __THIS__"}},
        {**STAGE, "paramMap": {"statement": "SELECT IDENTIFIER ('ref' || 'lect')('a') FROM __THIS__"}},
        {**STAGE, "paramMap": {}, "defaultParamMap": {"statement": "SELECT reflect('a', 'b') FROM __THIS__"}},
        {**STAGE, "defaultParamMap": {"stageUids": ["../x"]}},
        {**STAGE, "paramMap": [{"statement": "SELECT 1"}]},
        {**STAGE, "defaultParamMap": None},
        {**STAGE, "paramMap": {"statement": "SELECT IDENTIFIER/**/('ref'||'lect')('a') FROM __THIS__"}},
        {**STAGE, "paramMap": {"statement": "SELECT IDENTIFIER--\n('ref'||'lect')('a') FROM __THIS__"}},
        {**STAGE, "paramMap": {"statement": "SELECT TRANSFORM(x) USING 'sh' AS (y) FROM __THIS__"}},
        {**STAGE, "paramMap": {"statement": "SELECT r'\\', reflect('a', 'b'), '' FROM __THIS__"}},
        {**STAGE, "paramMap": {"statement": "SELECT /* ' */ IDENTIFIER/* ' */('reflect')('a') FROM __THIS__"}},
        {**STAGE, "paramMap": {"statement": "EXECUTE IMMEDIATE 'SELECT ref\\154ect(1)'"}},
        {**STAGE, "paramMap": {"statement": ["SELECT 1"]}},
        '{"class": "os.system", "class": "org.apache.spark.ml.feature.SQLTransformer", "uid": "S_1"}',
        json.dumps(STAGE) + "\n" + json.dumps({**STAGE, "class": "os.system"}),
        "not json",
        "[]",
    ],
)
def test_a_stage_that_is_not_is_refused(tmp_path: Path, stage: dict[str, Any] | str) -> None:
    with pytest.raises(ModelError, match="STAGE_NOT_ALLOWED") as error:
        stages.check(saved(tmp_path, stage))
    assert error.value.exit_code == 4


@pytest.mark.parametrize(
    "spark", [{}, {**SPARK, "code": "code"}, {**SPARK, "model_class": "os.system"}, {**SPARK, "model_data": "../other"}]
)
def test_a_description_that_leads_elsewhere_is_refused(tmp_path: Path, spark: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"STAGE_NOT_ALLOWED.*MLmodel"):
        stages.check(saved(tmp_path, STAGE, spark=spark))


def test_a_second_part_of_the_metadata_is_looked_at_too_however_it_is_packed(tmp_path: Path) -> None:
    metadata = saved(tmp_path, STAGE) / "sparkml" / "stages" / "0_S_1" / "metadata"
    packed = gzip.compress(json.dumps({**STAGE, "class": "os.system"}).encode())
    (metadata / "part-00001.gz").write_bytes(packed)

    with pytest.raises(ModelError, match=r"'os.system'"):
        stages.check(tmp_path)


def test_a_model_without_a_pipeline_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(json.dumps({"flavors": {"spark": SPARK}}))

    with pytest.raises(ModelError, match="no pipeline"):
        stages.check(tmp_path)


def test_the_list_holds_what_pyspark_has_of_fitted_stages_but_those_that_hold_estimators() -> None:
    found = set()
    for module in pkgutil.iter_modules(pyspark.ml.__path__):
        if module.name in {"connect", "torch", "deepspeed", "dl_util"}:
            continue
        loaded = importlib.import_module(f"pyspark.ml.{module.name}")
        for name, kind in inspect.getmembers(loaded, inspect.isclass):
            is_stage = issubclass(kind, Transformer) and issubclass(kind, MLReadable)
            if is_stage and kind.__module__ == loaded.__name__:
                found.add(f"{kind.__module__}.{name}")

    holding_estimators = {
        "pyspark.ml.classification.OneVsRestModel",
        "pyspark.ml.tuning.CrossValidatorModel",
        "pyspark.ml.tuning.TrainValidationSplitModel",
    }
    of_java = {"pyspark.ml.feature.ColumnPruner", "pyspark.ml.feature.VectorAttributeRewriter"}
    listed = {name for name in stages.ALLOWED if name.startswith("pyspark.")}
    assert found - holding_estimators == listed - of_java
