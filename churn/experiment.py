"""Experiments: which model scores which customer, who got which, and what came of it.

A customer's arm is a hash of the experiment's name, the seed and the customer, which has nothing to do with the split into
training and test rows; once recorded, it stays his, whatever the shares become. The version behind an arm is the one that scored
first: aliases move while an experiment runs, its models do not. Outcomes are compared by customer, by the first snapshot at
which he was scored in the experiment; who came into another arm later, as when his own left the split, stays in his first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as F

from churn.algorithms.candidates import PROBABILITY
from churn.config import ChurnConfig, CostConfig, as_trained
from churn.features import FEATURES
from churn.schema import CUSTOMER_ID, LABEL, SNAPSHOT_DATE
from churn.train import MODEL, ROW_KEY
from shared.core import clock
from shared.core.columns import Column, Table
from shared.core.draws import Draw
from shared.core.errors import ConfigError, DataError, ModelError
from shared.core.run import StepResult
from shared.delta.read import latest_version, read
from shared.delta.tables import Warehouse, create
from shared.delta.write import append_once
from shared.evaluation import ab, binary
from shared.registry import documents, tracking
from shared.registry.tracking import MlflowClient
from shared.registry.versions import CHALLENGER, CHAMPION, Registered, at_version, check_name, find, find_any

ALIAS = "model_alias"
ASSIGNMENTS = Table(
    "ops_churn_assignments",
    (
        Column("experiment", "string", "name of the experiment", nullable=False),
        Column(CUSTOMER_ID, "string", "the customer", nullable=False, pii=True),
        Column(SNAPSHOT_DATE, "date", "day he was scored for; null where the data have no dates"),
        Column(ALIAS, "string", "the arm: alias of the model that scored him", nullable=False),
        Column("model_version", "int", "version behind the alias then", nullable=False),
        Column("model_run_id", "string", "run that trained it: each registry counts versions from 1"),
        Column("share", "double", "share of the customers that the arm was to get", nullable=False),
        Column(PROBABILITY, "double", "the score", nullable=False),
        Column("decision", "string", "contact or leave", nullable=False),
        Column("features_version", "bigint", "version of the feature table he was scored from", nullable=False),
        Column("run_id", "string", "run that scored him", nullable=False),
        Column("assigned_ts", "timestamp", "when", nullable=False),
    ),
    append_only=True,
    description="Who was scored by which model in which experiment.",
)
_CROSSED = "_crossed"
_KEPT = "_kept"
_NOBODY = "an arm without customers"
_DRAWN_BY = ("experiment", CUSTOMER_ID, SNAPSHOT_DATE, ALIAS, "model_version", "model_run_id")


@dataclass(frozen=True)
class Arm:
    """A model and the share of the customers it scores; moved when the alias points elsewhere by now."""

    model: Registered
    share: float
    is_moved: bool = False


def assigned(spark: SparkSession, config: ChurnConfig) -> DataFrame:
    """Return what is recorded of the experiment so far, as rows of `ops_churn_assignments`."""
    ref = Warehouse(config.warehouse).table(ASSIGNMENTS.name)
    create(spark, ref, ASSIGNMENTS)
    return read(spark, ref).where(F.col("experiment") == config.ab.experiment)


def arms(client: MlflowClient, config: ChurnConfig, before: DataFrame | None = None) -> tuple[Arm, ...]:
    """Return who scores: the aliases of ``ab.split``, champion first, or the champion alone.

    Args:
        client: of the registry.
        config: settings.
        before: what is recorded of the experiment; an arm in it keeps the version that scored first.

    Raises:
        ConfigError: an alias is an address or a path, or two arms are the same version.
        ModelError: no model has the alias, or the version that scored first is gone.
    """
    split = config.ab.split or {CHAMPION: 1.0}
    frozen = {} if before is None else _first_versions(before)
    names = sorted(map(check_name, split), key=_champion_first)
    who = tuple(_arm(client, config, alias, split[alias], frozen.get(alias)) for alias in names)
    of_version: dict[int, str] = {}
    for each in who:
        alias, version = each.model.alias, each.model.version
        if version in of_version:
            raise ConfigError(
                "EXPERIMENT_SAME_MODEL",
                f"{of_version[version]} and {alias} are both version {version} in the experiment "
                f"'{config.ab.experiment}'.",
                "A version of its own behind each arm.",
                "Train a challenger, then start another experiment: ab.experiment=NAME.",
            )
        of_version[version] = alias
    return who


def frozen_versions(who: Sequence[Arm]) -> dict[str, int]:
    """Return the version that an arm keeps, by alias, where the alias has moved since the experiment began."""
    return {each.model.alias: each.model.version for each in who if each.is_moved}


def with_arm(
    customers: DataFrame, config: ChurnConfig, who: Sequence[Arm], before: DataFrame | None = None
) -> DataFrame:
    """Add `model_alias`: the arm each customer belongs to, in whatever order ``who`` names them.

    Args:
        customers: rows with `customer_id`.
        config: settings.
        who: the arms.
        before: what is recorded of the experiment; a customer keeps his first arm in it that is among ``who``.
    """
    place = Draw(config.seed).uniform(f"experiment/{config.ab.experiment}", CUSTOMER_ID)
    # The champion has what the others leave, so a share that grows is taken from the champion's.
    rest, *others = sorted(who, key=lambda each: _champion_first(each.model.alias))
    arm, reached = F.lit(rest.model.alias), sum(each.share for each in others)
    for each in reversed(others):
        arm = F.when(place < reached, each.model.alias).otherwise(arm)
        reached -= each.share
    if before is None:
        return customers.withColumn(ALIAS, arm)
    kept = _first_of_each(before.where(F.col(ALIAS).isin([each.model.alias for each in who])))
    customers = customers.join(kept.select(CUSTOMER_ID, F.col(ALIAS).alias(_KEPT)), CUSTOMER_ID, "left")
    return customers.withColumn(ALIAS, F.coalesce(_KEPT, arm)).drop(_KEPT)


def record(
    spark: SparkSession,
    config: ChurnConfig,
    run_id: str,
    scores: DataFrame,
    who: Sequence[Arm],
    features_version: int,
) -> int:
    """Append who got which model, unless it is recorded already, and return the number of rows appended.

    Args:
        spark: session.
        config: settings; without ``ab.split`` there is no experiment and nothing is recorded.
        run_id: of the scoring.
        scores: rows as in `gold_churn_scores`.
        who: the arms.
        features_version: version of the feature table that was scored.
    """
    if not config.ab.split:
        return 0
    known = assigned(spark, config).select(*(F.col(name).alias(f"_{name}") for name in _DRAWN_BY))
    shares = F.create_map(*(F.lit(part) for each in who for part in (each.model.alias, each.share)))
    rows = scores.select(
        F.lit(config.ab.experiment).alias("experiment"),
        CUSTOMER_ID,
        SNAPSHOT_DATE,
        ALIAS,
        F.col("model_version").cast("int").alias("model_version"),
        "model_run_id",
        shares[F.col(ALIAS)].alias("share"),
        PROBABILITY,
        "decision",
        F.lit(features_version).cast("bigint").alias("features_version"),
        F.lit(run_id).alias("run_id"),
        F.lit(clock.utc_now()).alias("assigned_ts"),
    )
    new = rows.join(known, [F.col(name).eqNullSafe(F.col(f"_{name}")) for name in _DRAWN_BY], "left_anti").cache()
    ref = Warehouse(config.warehouse).table(ASSIGNMENTS.name)
    written = append_once(new, ref, app_id=f"assignments:{run_id}", version=0)
    new.unpersist()
    return written.rows


def ab_report(spark: SparkSession, config: ChurnConfig, run_id: str) -> StepResult:
    """Compare the arms of an experiment on the outcomes known by now, or say how many customers one would need (--size).

    Rates with Newcombe's interval, retained value per customer with Welch's, in the costs that the first arm decides by where
    the command names no others; the model's metrics are those of each arm on its own customers. Before all, whether the
    split worked.

    Raises:
        DataError: nobody was assigned in the experiment, and no size was asked for.
        ConfigError: the size cannot be.
        ModelError: EXPERIMENT_MODEL_MISSING; the model whose costs are asked for is gone.
    """
    drawn, shares = _drawn(spark, config)
    needed = {} if config.ab.effect is None else _needed(config, _past_rate(spark, config), shares or config.ab.split)
    if not shares:
        if needed:
            return StepResult(needed)
        raise DataError(
            "EXPERIMENT_EMPTY",
            f"Nobody was assigned in the experiment '{config.ab.experiment}'.",
            f"Rows of score-batch --split in {ASSIGNMENTS.name}.",
            "Score with --split champion=0.9,challenger=0.1, or plan with --size.",
        )
    costs = _costs(config, drawn)
    customers = _first_of_each(drawn).cache()
    of_arm = {row[ALIAS]: row["count"] for row in customers.groupBy(ALIAS).count().collect()}
    expected = _expected(drawn, customers, config)
    known = _with_outcome(spark, config, customers).cache()
    found = {row[ALIAS]: row for row in _summaries(known, costs)}
    chance = ab.sample_ratio_p_value(of_arm, expected)
    result = StepResult(
        {
            "experiment": config.ab.experiment,
            "customers": {arm: of_arm.get(arm, 0) for arm in sorted({*shares, *expected})},
            "outcome_known": {arm: found[arm]["rows"] if arm in found else 0 for arm in shares},
            "crossed_over": customers.where(_CROSSED).count(),
            "sample_ratio_p_value": chance,
            "split_works": chance >= ab.MISMATCH,
            **needed,
        },
        metrics={arm: _metrics(known.where(F.col(ALIAS) == arm), row) for arm, row in found.items()},
        rows=_differences(found, shares, config.ab.level),
    )
    for rows in (customers, known):
        rows.unpersist()
    return result


def _champion_first(alias: str) -> tuple[bool, str]:
    return alias != CHAMPION, alias


def _first_versions(before: DataFrame) -> dict[str, tuple[int, str | None]]:
    """Return the version that scored first in each arm, and the run that trained it."""
    model = F.struct("model_version", "model_run_id")
    first = F.min_by(model, F.struct("assigned_ts", "model_version")).alias("first")
    return {row[ALIAS]: tuple(row["first"]) for row in before.groupBy(ALIAS).agg(first).collect()}


def _arm(
    client: MlflowClient, config: ChurnConfig, alias: str, share: float, frozen: tuple[int, str | None] | None
) -> Arm:
    """Return the arm of ``alias`` with the version ``frozen``, or where it scored nobody yet, with the alias's own."""
    if frozen is None:
        return Arm(find(client, MODEL, alias), share)
    now = find_any(client, MODEL, alias)
    model = _begun_with(client, config, alias, frozen)
    return Arm(model, share, is_moved=now is None or now.version != model.version)


def _begun_with(client: MlflowClient, config: ChurnConfig, alias: str, first: tuple[int, str | None]) -> Registered:
    version, run_id = first
    try:
        return replace(at_version(client, MODEL, version, run_id), alias=alias)
    except ModelError as error:
        raise ModelError(
            "EXPERIMENT_MODEL_MISSING",
            f"Version {version} of model '{MODEL}', {alias} in the experiment '{config.ab.experiment}', is gone.",
            "The version that the experiment began with, in the registry that had it.",
            "Start another experiment: ab.experiment=NAME; to report, name costs.contact, value_saved and success_rate.",
        ) from error


def _costs(config: ChurnConfig, drawn: DataFrame) -> CostConfig:
    """Return the costs of the command; those that it does not name are those the first arm's model was trained with."""
    if config.costs.model_fields_set == CostConfig.model_fields.keys():
        return config.costs
    alias, first = min(_first_versions(drawn).items(), key=lambda arm: _champion_first(arm[0]))
    model = _begun_with(tracking.connect(config, MODEL), config, alias, first)
    return as_trained(documents.logged(model, "config"), config).costs


def _drawn(spark: SparkSession, config: ChurnConfig) -> tuple[DataFrame, dict[str, float]]:
    """Return the rows of the experiment, and the share that each arm was to get last."""
    drawn = assigned(spark, config)
    shares = drawn.groupBy(ALIAS).agg(F.max_by("share", "assigned_ts").alias("share"))
    return drawn, {row[ALIAS]: row["share"] for row in shares.orderBy(ALIAS).collect()}


def _expected(drawn: DataFrame, customers: DataFrame, config: ChurnConfig) -> dict[str, float]:
    """Return the share of ``customers``, each at the scoring that he came in by, that an arm was to get, empty ones too."""
    came = {row["run_id"]: row["count"] for row in customers.groupBy("run_id").count().collect()}
    known: dict[str, dict[str, float]] = {run_id: {} for run_id in came}
    for row in drawn.groupBy("run_id", ALIAS).agg(F.max("share").alias("share")).collect():
        known.setdefault(row["run_id"], {})[row[ALIAS]] = row["share"]
    shares = ab.shares_of_all([(came.get(run_id, 0), split) for run_id, split in known.items()])
    names = sorted(config.ab.split.keys() - shares.keys())
    return {arm or ", ".join(names) or _NOBODY: share for arm, share in shares.items()}


def _first_of_each(drawn: DataFrame) -> DataFrame:
    """Return one row per customer, of the first snapshot, with whether he was in another arm later."""
    of_customer = Window.partitionBy(CUSTOMER_ID)
    order = of_customer.orderBy(F.col(SNAPSHOT_DATE).asc_nulls_first(), "assigned_ts", "model_version")
    numbered = drawn.withColumns(
        {"_place": F.row_number().over(order), _CROSSED: F.size(F.collect_set(ALIAS).over(of_customer)) > 1}
    )
    return numbered.where("_place = 1").drop("_place")


def _with_outcome(spark: SparkSession, config: ChurnConfig, customers: DataFrame) -> DataFrame:
    """Return the customers whose outcome is known by now, with `label`.

    Where the data have no dates, that is once the table was made again after the scoring.
    """
    ref = Warehouse(config.warehouse).table(FEATURES)
    newest = latest_version(spark, ref)
    labels = read(spark, ref, newest).where(F.col(LABEL).isNotNull())
    labels = labels.select(LABEL, *(F.col(name).alias(f"_{name}") for name in ROW_KEY))
    is_same = [F.col(name).eqNullSafe(F.col(f"_{name}")) for name in ROW_KEY]
    is_later = F.col(SNAPSHOT_DATE).isNotNull() | (F.col("features_version") < newest)
    return customers.where(is_later).join(labels, is_same).drop(*(f"_{name}" for name in ROW_KEY))


def _summaries(known: DataFrame, costs: CostConfig) -> list[Row]:
    value = costs.value_saved * (1 - F.col(LABEL)) - costs.contact * (F.col("decision") == "contact").cast("int")
    return (
        known.withColumn("value", value.cast("double"))
        .groupBy(ALIAS)
        .agg(
            F.count("*").alias("rows"),
            F.sum(LABEL).cast("long").alias("left"),
            F.avg("value").alias("value"),
            F.var_samp("value").alias("variance"),
        )
        .collect()
    )


def _metrics(rows: DataFrame, summary: Row) -> dict[str, Any]:
    own: dict[str, Any] = {"churn_rate": summary["left"] / summary["rows"], "value_per_customer": summary["value"]}
    if not 0 < summary["left"] < summary["rows"]:
        return own | {"rows": summary["rows"]}  # nothing can be ranked
    return own | binary.evaluate(rows, label=LABEL, probability=PROBABILITY).as_dict()


def _differences(found: Mapping[str, Row], shares: Mapping[str, float], level: float) -> list[dict[str, Any]]:
    """Return each other arm against the champion, or against the first, where both have outcomes."""
    first = CHAMPION if CHAMPION in shares else min(shares)
    rows = []
    for arm in sorted(shares.keys() - {first}):
        pair = [found[name] for name in (first, arm) if name in found and found[name]["rows"] > 1]
        if len(pair) == 2:
            left = [(each["left"], each["rows"]) for each in pair]
            value = [(each["value"], each["variance"], each["rows"]) for each in pair]
            for what, difference in (
                ("churn_rate", ab.rates(left[0], left[1], level)),
                ("value_per_customer", ab.means(value[0], value[1], level)),
            ):
                bounds = {"difference": difference.value, "low": difference.low, "high": difference.high}
                rows.append({"what": what, "arms": f"{arm} - {first}", **bounds})
    return rows


def _past_rate(spark: SparkSession, config: ChurnConfig) -> float:
    """Return the churn rate of the newest snapshot whose outcome is known, which the next one is taken to be like."""
    rows = read(spark, Warehouse(config.warehouse).table(FEATURES)).where(F.col(LABEL).isNotNull())
    by_day = rows.groupBy(SNAPSHOT_DATE).agg(F.avg(LABEL).alias("rate")).orderBy(F.col(SNAPSHOT_DATE).desc()).first()
    if by_day is None:
        raise DataError("LABEL_MISSING", f"No outcome is known in {FEATURES}.", "", "Run features on older data.")
    return float(by_day["rate"])


def _needed(config: ChurnConfig, rate: float, shares: Mapping[str, float]) -> dict[str, Any]:
    effect = config.ab.effect or 0.0
    names = list(shares) or [CHAMPION, CHALLENGER]
    first = CHAMPION if CHAMPION in names else names[0]
    needed: dict[str, int] = {first: 0}
    for name in names:
        if name == first:
            continue
        pair = (shares.get(first, 0.5), shares.get(name, 0.5))
        rows = ab.rows_needed(rate, effect, share=pair[1] / sum(pair), level=config.ab.level, power=config.ab.power)
        needed |= {first: max(needed[first], rows[0]), name: rows[1]}
    return {"past_rate": rate, "effect": effect, "power": config.ab.power, "customers_needed": needed}
