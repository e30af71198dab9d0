"""Every leak is planted and must be refused; beside it, honest data must pass."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pytest
from pyspark.ml import Model, Pipeline, Transformer
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import (
    Imputer,
    OneHotEncoder,
    QuantileDiscretizer,
    StandardScaler,
    StringIndexer,
    TargetEncoder,
    VectorAssembler,
)
from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from shared.core.errors import DataError
from shared.features.leakage import (
    check_feature_times,
    check_fit,
    check_fitted_on,
    check_groups,
    check_single_features,
    check_time,
    fingerprint,
)

SNAPSHOTS = "customer_id string, snapshot_date date, outcome_end_date date"


def snapshots(spark: SparkSession, *rows: tuple[str, int, int | None]) -> DataFrame:
    """Rows of customer, day of the snapshot and day its outcome is known, both in January."""
    dated = [(name, date(2024, 1, made), None if known is None else date(2024, 1, known)) for name, made, known in rows]
    return spark.createDataFrame(dated, SNAPSHOTS)


def test_an_outcome_known_only_after_the_test_begins_is_refused(spark: SparkSession) -> None:
    test = snapshots(spark, ("c", 20, 30))
    honest = snapshots(spark, ("a", 5, 15), ("b", 10, 20), ("b", 11, None))

    check_time(honest, test, time="snapshot_date", known="outcome_end_date")
    check_time(honest, test, time="snapshot_date", outcome_days=9)
    with pytest.raises(DataError, match=r"LEAK_TIME_OVERLAP.*known by 2024-01-21 00:00:00.*begin 2024-01-20"):
        check_time(snapshots(spark, ("a", 11, 21)), test, time="snapshot_date", known="outcome_end_date")
    with pytest.raises(DataError, match="LEAK_TIME_OVERLAP"):
        check_time(honest, test, time="snapshot_date", outcome_days=10)


def test_a_training_row_of_the_first_test_day_is_refused(spark: SparkSession) -> None:
    test = snapshots(spark, ("c", 20, None))

    check_time(snapshots(spark, ("a", 19, None)), test, time="snapshot_date")
    with pytest.raises(DataError, match=r"LEAK_TIME_OVERLAP.*rows reach 2024-01-20"):
        check_time(snapshots(spark, ("a", 20, 20)), test, time="snapshot_date", known="outcome_end_date")


def test_rows_without_any_time_cannot_be_vouched_for(spark: SparkSession) -> None:
    train, test = snapshots(spark, ("a", 5, None)), snapshots(spark, ("c", 20, None))
    untimed = test.withColumn("snapshot_date", F.lit(None).cast("date"))

    check_time(train, test.union(untimed), time="snapshot_date")
    for earlier, later in ((train, untimed), (untimed, test), (train.limit(0), test)):
        with pytest.raises(DataError, match=r"LEAK_TIME_UNKNOWN.*\(no time\)"):
            check_time(earlier, later, time="snapshot_date")
    with pytest.raises(DataError, match=r"LEAK_TIME_UNKNOWN.*known by \(no time\)"):
        check_time(train, test, time="snapshot_date", known="outcome_end_date")


def test_a_customer_in_both_parts_is_refused_and_no_customer_is_none(spark: SparkSession) -> None:
    train, test = ["a", "b", "c", None], ["d", "e", None]
    parts = [
        spark.createDataFrame([(name,) for name in names], "customer_id string") for names in (train, test, ["b", "c"])
    ]

    check_groups(parts[0], parts[1], group="customer_id")
    with pytest.raises(DataError, match=r"LEAK_GROUP_OVERLAP\] 2 values of customer_id .*\['b', 'c'\]"):
        check_groups(parts[0], parts[1].union(parts[2]), group="customer_id")


def test_a_feature_stamped_at_the_cut_or_later_is_refused(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [
            (date(2024, 1, 10), datetime(2024, 1, 9, 23, 59, 59), date(2024, 1, 9), datetime(2024, 1, 10)),
            (date(2024, 1, 10), None, date(2024, 1, 1), datetime(2024, 1, 11)),
            (None, None, date(2024, 1, 1), None),
        ],
        "snapshot_date date, usage_ts timestamp, paid_date date, call_ts timestamp",
    )

    check_feature_times(rows.where("snapshot_date IS NOT NULL"), stamps=["usage_ts", "paid_date"], cut="snapshot_date")
    with pytest.raises(DataError, match=r"LEAK_FUTURE_FEATURE.*\{'call_ts': 2\}"):
        check_feature_times(rows.limit(2), stamps=["usage_ts", "paid_date", "call_ts"], cut="snapshot_date")
    with pytest.raises(DataError, match=r"LEAK_FUTURE_FEATURE.*\{'paid_date': 1\}"):  # a stamp without a cut
        check_feature_times(rows, stamps=["usage_ts", "paid_date"], cut="snapshot_date")


def drawn(seed: int, values: int) -> Column:
    return F.pmod(F.xxhash64("id", F.lit(seed)), F.lit(values))


@pytest.fixture(scope="module")
def labelled(spark: SparkSession) -> DataFrame:
    """Rows with a label of 5 %, honest features, and the label in seven disguises."""
    is_churner = F.col("label") == 1
    rows = spark.range(4_000).select("id", (drawn(0, 20) == 0).cast("int").alias("label"))
    honest = {
        "noise": drawn(1, 100_000) / 7,
        "strong": drawn(2, 100_000) + is_churner.cast("int") * 60_000,
        "missing_at_random": F.when(drawn(3, 3) > 0, drawn(4, 50)),
        "customer_id": F.concat(F.lit("c"), F.col("id")),
        "plan": F.when(drawn(5, 10) < 5 + is_churner.cast("int") * 4, "basic").otherwise("premium"),
    }
    leaks = {
        "copy": F.col("label"),
        "is_active": ~is_churner,
        "refund": F.when(is_churner, 1 + drawn(6, 100_000)).otherwise(0),
        "days_to_end": F.when(is_churner, -drawn(7, 1_000) / 3).otherwise(1 + drawn(8, 1_000) / 3),
        "status_code": F.when(is_churner, 5).otherwise(F.when(drawn(9, 2) == 0, 1).otherwise(9)),
        "survey_score": F.when(~is_churner, drawn(10, 11)),
        "closed_ts": F.when(is_churner, F.timestamp_seconds(F.lit(1_700_000_000) + drawn(11, 1_000_000))),
        "status": F.when(is_churner, F.concat(F.lit("closed "), drawn(12, 9))).otherwise(
            F.concat(F.lit("open "), drawn(13, 9))
        ),
        "reason": F.when(is_churner, "moved away"),
    }
    return rows.withColumns(honest | leaks).cache()


NUMERIC_LEAKS = ["closed_ts", "copy", "days_to_end", "is_active", "refund", "status_code", "survey_score"]


def test_honest_features_pass_with_their_auc(labelled: DataFrame) -> None:
    found = check_single_features(
        labelled, numeric=["noise", "strong", "missing_at_random"], categorical=["customer_id", "plan"], label="label"
    )

    assert found["noise"] < 0.56
    assert 0.90 < found["strong"] < 0.94  # uniform on [0, 1] against [0.6, 1.6]: 1 - 0.4² / 2 = 0.92
    assert found["missing_at_random"] < 0.56
    assert found["customer_id"] < 0.56  # every customer is a level of its own, and earns nothing by it
    assert 0.65 < found["plan"] < 0.75


def test_ids_do_not_give_the_label_away_where_rows_are_few(spark: SparkSession) -> None:
    few = spark.range(150).select(
        F.concat(F.lit("c"), "id").alias("name"), (drawn(0, 4) == 0).cast("int").alias("label")
    )

    assert 0.4 < check_single_features(few, numeric=[], categorical=["name"], label="label")["name"] < 0.6


def test_every_disguise_of_the_label_is_named(labelled: DataFrame) -> None:
    with pytest.raises(DataError, match="LEAK_LABEL_IN_DISGUISE") as refused:
        check_single_features(
            labelled,
            numeric=["noise", "strong", *NUMERIC_LEAKS],
            categorical=["plan", "status", "reason"],
            label="label",
        )

    assert [name for name in labelled.columns if f"'{name}'" in refused.value.found] == [
        *("copy", "is_active", "refund", "days_to_end", "status_code", "survey_score", "closed_ts", "status", "reason")
    ]


def test_the_auc_of_a_feature_is_exact_on_few_values_and_counts_ties_half(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(1.0, 0), (2.0, 0), (2.0, 1), (3.0, 0), (4.0, 1), (9.0, None)], "x double, label int")

    assert check_single_features(rows, numeric=["x"], categorical=[], label="label") == {"x": 4.5 / 6}


def test_a_code_that_is_the_label_is_caught_however_rare_its_values_are(spark: SparkSession) -> None:
    # Even for the 2 % who leave, odd for those who stay, most of whom have the code 1: no quantile tells them apart.
    code = "IF(pmod(id, 50) = 0, 2 * pmod(id div 50, 60), IF(pmod(id, 7) > 0, 1, 2 * pmod(id, 61) + 1))"
    rows = spark.range(20_000).selectExpr(f"{code} AS code").selectExpr("code", "CAST(code % 2 = 0 AS INT) AS label")

    with pytest.raises(DataError, match=r"\{'code': 1.0\}"):
        check_single_features(rows, numeric=["code"], categorical=[], label="label")


def test_numbers_are_binned_by_quantile_and_the_frequent_value_alone(spark: SparkSession) -> None:
    # 30 % have 0, the others all differ: all who leave are among the least of those.
    rows = spark.range(10_000).selectExpr(
        "IF(id < 3000, 0.0D, id / 7) AS x", "CAST(id BETWEEN 3000 AND 3500 AS INT) AS y"
    )
    withheld = rows.selectExpr("IF(x > 0, x, 'NaN') AS x", "y")

    assert check_single_features(rows, numeric=["x"], categorical=[], label="y", max_auc=1)["x"] > 0.99
    found = check_single_features(withheld, numeric=["x"], categorical=[], label="y", max_auc=1)["x"]
    assert 0.9975 <= found <= 1


def test_a_label_of_one_class_is_refused(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(1.0, 0), (2.0, 0)], "x double, label int")

    with pytest.raises(DataError, match="LABEL_ONE_CLASS"):
        check_single_features(rows, numeric=["x"], categorical=[], label="label")


@pytest.fixture(scope="module")
def parts(spark: SparkSession) -> tuple[DataFrame, DataFrame]:
    """Training rows, and all rows: test holds a larger amount, a missing one and a plan of its own."""
    schema = "id int, amount double, plan string, label int"
    train = [(number, float(number % 7), "ab"[number % 2], number % 3 % 2) for number in range(30)]
    test = [(30, 500.0, "c", 1), (31, None, "a", 0)]
    return spark.createDataFrame(train, schema).cache(), spark.createDataFrame(train + test, schema).cache()


STAGES: dict[str, Callable[[], list[Any]]] = {
    "Imputer": lambda: [Imputer(inputCols=["amount"], outputCols=["amount_filled"], strategy="mean")],
    "StandardScaler": lambda: [
        VectorAssembler(inputCols=["amount"], outputCol="raw", handleInvalid="skip"),
        StandardScaler(inputCol="raw", outputCol="scaled", withMean=True),
    ],
    "StringIndexer": lambda: [
        StringIndexer(inputCol="plan", outputCol="plan_index", handleInvalid="keep"),
        OneHotEncoder(inputCol="plan_index", outputCol="plan_is", dropLast=False),
    ],
    "Bucketizer": lambda: [
        QuantileDiscretizer(inputCol="amount", outputCol="bin", numBuckets=3, handleInvalid="keep"),
    ],
    "TargetEncoder": lambda: [
        TargetEncoder(inputCol="amount", outputCol="rate", labelCol="label", targetType="binary", smoothing=2.0),
    ],
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_fitted_on_test_rows_is_refused_and_one_fitted_on_training_rows_passes(
    stage: str, parts: tuple[DataFrame, DataFrame]
) -> None:
    train, everything = parts
    pipeline = Pipeline(stages=STAGES[stage]())
    if stage == "TargetEncoder":
        everything = everything.where("amount < 100").union(train.limit(3))

    check_fit(pipeline, pipeline.fit(train), train)
    with pytest.raises(DataError, match=rf"LEAK_FITTED_ON_TEST\] {stage}\w* was not fitted on the training rows alone"):
        check_fit(pipeline, pipeline.fit(everything), train)


class Constant(Model):
    """Adds a number, alone and in a vector."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return dataset.withColumns({"one": F.lit(self.number), "all": array_to_vector(F.array(F.lit(self.number)))})


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf"), 1.0])
def test_an_output_that_is_nan_or_infinite_differs_from_one_that_is_a_number(
    odd: float, parts: tuple[DataFrame, DataFrame]
) -> None:
    train, _ = parts

    check_fit(lambda rows: Constant(odd), Constant(odd), train)
    for ours, theirs in ((odd, 2.0), (2.0, odd), (odd, float("-inf") if odd > 1 else float("inf"))):
        with pytest.raises(DataError, match=r"LEAK_FITTED_ON_TEST.*\{'one': 30, 'all': 30\}"):
            check_fit(lambda rows, ours=ours: Constant(ours), Constant(theirs), train)


def test_stages_made_by_a_function_are_checked_one_by_one(parts: tuple[DataFrame, DataFrame]) -> None:
    train, everything = parts

    def fit(rows: DataFrame) -> list[Transformer]:
        indexer = StringIndexer(inputCol="plan", outputCol="plan_index").fit(rows)
        return [indexer, Imputer(inputCols=["amount"], outputCols=["amount"]).fit(rows)]

    check_fit(fit, fit(train), train)
    with pytest.raises(DataError, match="ImputerModel was not fitted on the training rows alone: surrogateDF"):
        check_fit(fit, [fit(train)[0], fit(everything)[1]], train)
    with pytest.raises(DataError, match="The stages are"):
        check_fit(fit, fit(train)[:1], train)


def test_the_predictor_of_a_pipeline_is_not_fitted_again(parts: tuple[DataFrame, DataFrame]) -> None:
    train, everything = parts
    assembler = VectorAssembler(inputCols=["amount"], outputCol="features", handleInvalid="skip")
    scaler = StandardScaler(inputCol="features", outputCol="scaled")
    unfit = LogisticRegression(featuresCol="no_such_column", labelCol="label")

    fitted = Pipeline(stages=[assembler, scaler]).fit(train)
    check_fit(Pipeline(stages=[assembler, scaler, unfit]), fitted, train)
    with pytest.raises(DataError, match="StandardScalerModel"):
        check_fit(
            Pipeline(stages=[assembler, scaler, unfit]), Pipeline(stages=[assembler, scaler]).fit(everything), train
        )


def test_a_model_fitted_on_other_rows_is_told_by_the_fingerprint_it_recorded(
    parts: tuple[DataFrame, DataFrame],
) -> None:
    train, everything = parts

    check_fitted_on(fingerprint(train, "id"), train.repartition(5).orderBy(F.desc("id")), key="id")
    for others in (everything, train.where("id > 0"), everything.where("id BETWEEN 1 AND 30"), train.limit(0)):
        with pytest.raises(DataError, match="LEAK_FITTED_ON_TEST"):
            check_fitted_on(fingerprint(others, "id"), train, key="id")
    assert fingerprint(train.union(train.where("id = 1")), "id") != fingerprint(train, "id")
