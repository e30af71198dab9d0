"""A saved pipeline that names anything but Spark's own fitted stages is refused before anything is imported."""

import gzip
import importlib
import inspect
import json
import pkgutil
import shutil
from pathlib import Path
from typing import Any

import pyspark.ml
import pytest
from pyspark.errors import AnalysisException
from pyspark.ml import Pipeline, Transformer
from pyspark.ml.classification import RandomForestClassifier
from pyspark.ml.feature import RFormula, SQLTransformer
from pyspark.ml.util import DefaultParamsReader, MLReadable
from pyspark.sql import SparkSession

from shared.core.errors import ModelError
from shared.registry import stages, statements

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


def test_a_statement_of_pure_functions_is_allowed(tmp_path: Path) -> None:
    terms = [
        "1 / (1 + exp(-(2.5D * ln(greatest(least(`p`, 1.0D), 1e-06D)) + -0.3D))) AS a",
        r"CAST(split(CAST(`v` AS STRING), '[\\[,\\]]')[2] AS DOUBLE) AS b",
        "CASE WHEN `p` BETWEEN 0 AND 1 THEN (`p`) WHEN NOT (`p` IS NULL OR isnan(`p`)) THEN 1 ELSE -`p` END AS c",
        "element_at(array('a', 'it\\'s'), CAST(`g` AS INT) + 1) AS d",
        "coalesce(`day`, DATE'2026-01-31', TIMESTAMP'2026-01-31 00:00:00') AS e",
        "aggregate(transform(filter(l, x -> x > 1), (x, i) -> x + i), 0D, (sum, x) -> sum + x) AS f",
        "zip_with(l, m, (x, y) -> x * y) AS g",
        "CAST(x AS DECIMAL(10, 2)) IN (1, 2) AND town RLIKE 'a' AND get_json_object(j, '$.a') <=> NULL AS h",
        "date_add(to_date(s, 'yyyy'), 1) + INTERVAL '1' DAY AS i",
        "substring(trim(BOTH 'x' FROM s) FROM 1 FOR 2) || extract(year FROM d) AS j",
        "nvl(struct(x, s.a.b).x, map('a', 1)['a']) % 2 AS k",
        "nvl(`größe`, `ſ {x}`) IN ('uſer', 'Größe', '{#') AND session > `system` AND __THIS__.session > 1 AS l",
    ]
    statement = f"SELECT * EXCEPT (`p`, `q`), {', '.join(terms)} FROM __THIS__"

    stages.check(saved(tmp_path, {**STAGE, "paramMap": {"statement": statement}}))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT *, (SELECT first(value) FROM text.`/etc/passwd`) AS x FROM __THIS__", "calls the function 'first'"),
        ("SELECT *, (SELECT value FROM text.`/etc/passwd`) AS x FROM __THIS__", "holds a part of the kind Subquery"),
        ("SELECT *, (FROM secrets SELECT value) AS x FROM __THIS__", "holds a part of the kind Subquery"),
        ("SELECT *, (TABLE secrets) AS x FROM __THIS__", "uses TABLE"),
        ("SELECT *, (VALUES 1) AS x FROM __THIS__", "holds a part of the kind Subquery"),
        ("SELECT x IN (SELECT 1) AS x FROM __THIS__", "holds a part of the kind"),
        ("SELECT EXISTS (SELECT 1 FROM secrets) AS x FROM __THIS__", "holds a part of the kind"),
        ("SELECT * FROM __THIS__ JOIN delta.`/path`", "is not of the form SELECT … FROM __THIS__"),
        ("SELECT * FROM __THIS__, secrets", "is not of the form"),
        ("SELECT * FROM secrets", "is not of the form"),
        ("SELECT * FROM text.__THIS__", "is not of the form"),
        ("SELECT * FROM __THIS__ VERSION AS OF 1", "is not of the form"),
        ("SELECT * FROM __THIS__ TABLESAMPLE (1 PERCENT)", "calls the function 'TABLESAMPLE'"),
        ("SELECT * FROM __THIS__ PIVOT (max(a) FOR b IN (1))", "calls the function 'PIVOT'"),
        ("SELECT * FROM __THIS__ LATERAL VIEW explode(a) t AS b", "calls the function 'explode'"),
        ("SELECT * FROM __THIS__ LATERAL VIEW sequence(1, 2) t AS b", "is not of the form"),
        ("SELECT * FROM __THIS__ UNION SELECT * FROM secrets", "is not of the form"),
        ("SELECT * FROM __THIS__ |> UNION ALL (FROM secrets)", "uses |>"),
        ("SELECT * FROM __THIS__ WHERE x = 1", "is not of the form"),
        ("SELECT * INTO other FROM __THIS__", "is not of the form"),
        ("SELECT *; SELECT * FROM __THIS__", "uses ;"),
        ("WITH t AS (SELECT 1) SELECT * FROM __THIS__", "is no SELECT"),
        ("SELECT /*+ BROADCAST(t) */ * FROM __THIS__", "uses /*"),
        ("SELECT row_number() OVER (ORDER BY x) AS x FROM __THIS__", "calls the function 'row_number'"),
        ("SELECT abs(x) OVER w AS x FROM __THIS__", "holds a part of the kind Window"),
        ("SELECT * FROM read_files('/path')", "calls the function 'read_files'"),
        ("SELECT *, secret('prod', 'db') AS x FROM __THIS__", "calls the function 'secret'"),
        ("SELECT *, `try_secret` ('prod', 'db') AS x FROM __THIS__", "calls the function 'try_secret'"),
        ("SELECT *, input_file_name() AS x FROM __THIS__", "calls the function 'input_file_name'"),
        ("SELECT *, ai_query('model', x) AS x FROM __THIS__", "calls the function 'ai_query'"),
        ("SELECT *, http_request(conn => 'c') AS x FROM __THIS__", "calls the function 'http_request'"),
        ("SELECT *, current_user() AS x FROM __THIS__", "calls the function 'current_user'"),
        ("SELECT *, current_user AS x FROM __THIS__", "reads current_user"),
        ("SELECT *, `Session_User` AS x FROM __THIS__", "reads session_user"),
        ("SELECT *, session_user AS x FROM __THIS__", "reads session_user"),
        ("SELECT *, user AS x FROM __THIS__", "reads user"),
        ("SELECT *, __THIS__._metadata.file_path AS x FROM __THIS__", "reads _metadata"),
        ("SELECT *, uſer AS x FROM __THIS__", "uses ſ"),
        ("SELECT *, `ſeſſıon_uſer` AS x FROM __THIS__", "reads ſeſſıon_uſer"),
        ("SELECT *, `current_tİmeſtamp` AS x FROM __THIS__", "reads current_tİmeſtamp"),
        ("SELECT *, current_date AS x FROM __THIS__", "reads current_date"),
        ("SELECT *, current_time AS x FROM __THIS__", "reads current_time"),
        ("SELECT *, `Current_Timestamp` AS x FROM __THIS__", "reads current_timestamp"),
        ("SELECT *, localtimestamp AS x FROM __THIS__", "reads localtimestamp"),
        ("SELECT *, current_path AS x FROM __THIS__", "reads current_path"),
        ("SELECT *, system.session.x AS x FROM __THIS__", "reads from system"),
        ("SELECT *, abs(`ſeſſion`.x) AS x FROM __THIS__", "reads from ſeſſion"),
        ("SELECT *, session.a.b.c.d.e AS x FROM __THIS__", "reads from session"),
        ("SELECT *, session.* FROM __THIS__", "reads from session"),
        ("SELECT * {# , x #} FROM __THIS__", "uses {"),
        ("SELECT *, mine.abs(x) AS x FROM __THIS__", "calls the function '….abs'"),
        ('SELECT *, "reflect"(x) AS x FROM __THIS__', 'uses "'),
        ("SELECT *, '${env:PGPASSWORD}' AS x FROM __THIS__", "uses ${"),
        ("SELECT *, abs(x AS y FROM __THIS__", "cannot be read"),
        (f"SELECT {'(' * 5000}x{')' * 5000} FROM __THIS__", "cannot be read"),
    ],
)
def test_a_statement_reads_nothing_but_its_rows(tmp_path: Path, statement: str, said: str) -> None:
    model = saved(tmp_path, {**STAGE, "paramMap": {"statement": statement}})

    with pytest.raises(ModelError, match="STAGE_NOT_ALLOWED") as error:
        stages.check(model)
    assert f"The SQL statement of sparkml/stages/0_S_1/metadata {said}".lower() in str(error.value).lower()


def test_the_functions_of_statements_are_sparks_own(spark: SparkSession) -> None:
    own = {row["function"] for row in spark.sql("SHOW SYSTEM FUNCTIONS").collect()}

    # What Spark's grammar has besides: casts and types.
    assert statements.FUNCTIONS - own == {"timestampadd", "timestampdiff", "try_cast", "varchar"}


@pytest.mark.slow  # hundreds of names
def test_the_names_that_spark_reads_without_such_a_column_are_known(spark: SparkSession) -> None:
    functions = [row["function"] for row in spark.sql("SHOW SYSTEM FUNCTIONS").collect()]
    keywords = [row["keyword"].lower() for row in spark.sql("SELECT keyword FROM sql_keywords()").collect()]
    names = {name for name in functions + keywords if name.isidentifier()}

    def is_read(name: str) -> bool:
        try:
            return bool(spark.range(1).selectExpr(name).columns)
        except AnalysisException:  # a syntax error too
            return False

    read = {name for name in names if is_read(name)} - {"true", "false", "null"}
    assert {"user", "current_date"} <= read <= statements.FROM_OUTSIDE


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
        {**STAGE, "uid": "silver_customers--"},
        {**STAGE, "uid": "-S_1"},
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
        json.dumps(STAGE) + "\n" + json.dumps(STAGE),
        "not json",
        "[]",
        "[" * 100_000,
        "",
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


@pytest.mark.parametrize("path", ["_x=1", "x=1/part-00000", "part-00001", "part-00001.gz"])
def test_what_spark_reads_in_place_of_the_metadata_is_refused(spark: SparkSession, tmp_path: Path, path: str) -> None:
    stage = saved(tmp_path, STAGE) / "sparkml" / "stages" / "0_S_1"
    evil = json.dumps({**STAGE, "class": "os.system"}).ljust(1000).encode()
    (stage / "metadata" / path).parent.mkdir(exist_ok=True)
    (stage / "metadata" / path).write_bytes(gzip.compress(evil, 0) if path.endswith(".gz") else evil)

    assert DefaultParamsReader.loadMetadata(str(stage), spark)["class"] == "os.system"
    with pytest.raises(ModelError, match=r"STAGE_NOT_ALLOWED.*stages/0_S_1/metadata cannot be read"):
        stages.check(tmp_path)


def test_metadata_that_is_no_folder_is_refused_though_spark_reads_it(spark: SparkSession, tmp_path: Path) -> None:
    stage = saved(tmp_path, STAGE) / "sparkml" / "stages" / "0_S_1"
    shutil.rmtree(stage / "metadata")
    (stage / "metadata").write_text(json.dumps({**STAGE, "class": "os.system"}))

    assert DefaultParamsReader.loadMetadata(str(stage), spark)["class"] == "os.system"
    with pytest.raises(ModelError, match="STAGE_NOT_ALLOWED"):
        stages.check(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        *("stages/1_S_2/Metadata", "stages/1_S_2/METADATA/part-00000", "stages/0_S_1/metadata/metadata/part-00000"),
        *(
            f"metadata/{name}"
            for name in ("_spark_metadata/0", ".x/part-00000", "_metadata", "other", "part-00001.bz2")
        ),
    ],
)
def test_what_spark_does_not_save_beside_metadata_is_refused(tmp_path: Path, path: str) -> None:
    added = saved(tmp_path, STAGE) / "sparkml" / path
    added.parent.mkdir(parents=True, exist_ok=True)
    added.write_text(json.dumps({**STAGE, "class": "os.system"}))

    with pytest.raises(ModelError, match="STAGE_NOT_ALLOWED"):
        stages.check(tmp_path)


@pytest.mark.parametrize("name", ["part-00000-tid-42-ac1e-7-1-c000.txt", "part-00000"])
def test_the_one_part_may_be_named_as_any_spark_names_it(tmp_path: Path, name: str) -> None:
    metadata = saved(tmp_path, STAGE) / "sparkml" / "metadata"
    (metadata / "part-00000").rename(metadata / name)
    for of_databricks in ("_started_42", "_committed_42"):
        (metadata / of_databricks).write_text("")

    stages.check(tmp_path)


def test_a_folder_of_metadata_without_a_document_is_refused(tmp_path: Path) -> None:
    (saved(tmp_path, STAGE) / "sparkml" / "metadata" / "part-00000").unlink()

    with pytest.raises(ModelError, match="STAGE_NOT_ALLOWED"):
        stages.check(tmp_path)


def test_what_spark_saves_of_nested_stages_is_allowed(spark: SparkSession, tmp_path: Path) -> None:
    rows = spark.range(20).selectExpr("id % 2 AS label", "CAST(id AS DOUBLE) AS x", "CAST(id % 3 AS STRING) AS `größe`")
    forest = RandomForestClassifier(numTrees=2, maxDepth=1)
    step = SQLTransformer(statement="SELECT *, coalesce(`größe`, '{ſ}') AS y FROM __THIS__")
    model = Pipeline(stages=[step, RFormula(formula="label ~ x + y"), Pipeline(stages=[forest])]).fit(rows)
    saved(tmp_path, STAGE)
    model.write().overwrite().save(str(tmp_path / "sparkml"))

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
