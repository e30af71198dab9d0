"""Every setting of the churn vertical, with its default and unit.

Below your own file lies `conf/telco.yaml` or `conf/cdnow.yaml` for a publisher's files, `conf/base.yaml` for the embedded
data, and for any other source nothing but the defaults here.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from shared.core.config import Settings
from shared.core.run import RunConfig
from shared.deploy.online.settings import ServingConfig
from shared.deploy.settings import BatchConfig, StreamConfig
from shared.evaluation.ab import AbConfig
from shared.features.words import WordsConfig
from shared.ingest.source import Source
from shared.monitoring.settings import MonitoringConfig
from shared.registry.gates import GateConfig
from shared.tuning.config import TuningConfig
from shared.tuning.space import Parameter, Space, with_order

MODEL = "churn"
"""Name of the registered model."""

DECISIONS = ("contact", "leave")
"""What to do with a customer at or above the threshold, and below it."""

Shape = Literal["subscriptions", "purchases", "customers"]
LOG_VALUES = ("quantity", "amount", "unit_price")
"""What a row of one's own event log may hold beside customer and time."""


class SampleConfig(Settings):
    """The embedded data.

    Args:
        customers: how many.
        days: length of the history.
        difficulty: 1 is realistic; larger hides the signal.
        drift_day: day of the log, from 0, on which minutes of use begin to drift; None for never.
        drift_size: by how many standard deviations of the minutes of 30 days.
    """

    customers: int = Field(5_000, ge=200)
    days: int = Field(540, ge=360)
    difficulty: float = Field(1.0, gt=0.0)
    drift_day: int | None = Field(None, ge=0)
    drift_size: float = 0.5


class LabelConfig(Settings):
    """What churn means, and when it is asked. Only for event logs; a customer table brings its label.

    Args:
        observation_days: every window of a feature ends so many days before the snapshot at the latest, so rows with a
            label and rows to score look back alike; snapshots with less log before them are left out. For ``purchases``
            also: a customer is at risk when seen in these days. Time since signup is not cut.
        gap_days: days between the snapshot and the outcome window, in which one can still act.
        outcome_days: length of the outcome window.
        as_of: end of the data, exclusive, and day of the last snapshot, which is scored; None: day after the last event,
            after which it must not be.
        every_days: distance of the snapshots before it.
        snapshots: how many; those whose outcome is not known yet are counted, not labelled.
    """

    observation_days: int = Field(90, ge=1)
    gap_days: int = Field(30, ge=0)
    outcome_days: int = Field(30, ge=1)
    as_of: date | None = None
    every_days: int = Field(30, ge=1)
    snapshots: int = Field(16, ge=1)


class OwnDataConfig(Settings):
    """One's own table of customers or event log, whose columns are not those of `schema.py`; `adapt` proposes it.

    Names are those after the mapping ``sources.….columns``, plain words; the customer is always ``customer_id``, the time of
    an event ``event_ts``.

    Args:
        columns: name → type of every other column that is kept. Of an event log only quantity, amount and unit_price.
        label: of a table: the column, a string, that says who has left.
        positive, negative: its values, as text: who left, who stayed. Any other value is refused.
        as_of: of a table: dates and times count as days before this day.
        slices: of a table: columns whose values are evaluated apart.
        texts: of a table: string columns that people wrote, whose words count and not the whole.
    """

    columns: Mapping[str, Literal["string", "double", "bigint", "boolean", "date", "timestamp"]] = {}
    label: str = ""
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    as_of: date | None = None
    slices: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


class SplitConfig(Settings):
    """How training, validation and test rows are kept apart.

    Args:
        by: ``time`` (the newest snapshots test) or ``customer`` (by hash of the customer).
        validation: share of customers, or number of snapshots, that choose and calibrate the model.
        test: share of customers, or number of snapshots, that are looked at once.
    """

    by: Literal["time", "customer"] = "time"
    validation: float = Field(2, gt=0)
    test: float = Field(2, gt=0)

    @model_validator(mode="after")
    def _parts(self) -> "SplitConfig":
        parts = (self.validation, self.test)
        if self.by == "customer" and sum(parts) >= 1:
            raise ValueError("split.validation and split.test are shares of customers and must leave some for training")
        if self.by == "time" and any(part < 1 or part != int(part) for part in parts):
            raise ValueError("split.validation and split.test are numbers of snapshots: whole, at least 1")
        return self


class ModelConfig(Settings):
    """The candidates. The one with the least validation log loss is registered.

    Args:
        candidates: which to train; ``blend`` is the mean probability of the others.
        knots: hinges for each numeric column of the logistic regression.
        logistic_penalty: L2 weight of the logistic regression.
        forest_trees, forest_depth: size of the random forest.
        boosted_trees, boosted_depth, boosted_step: size and learning rate of the boosted trees.
        tree_leaf: least rows in a leaf of either.
        max_levels: categorical features with more levels are left out.
        vocabulary: most words of a text feature that the logistic regression reads, the most frequent ones; the trees read
            none.
        min_word_rows: a word counts when it is in so many training rows.
        max_correlation: of two numeric features that correlate more, the later is left out; 1 keeps all.
        positive_weight: weight of a churner in training; probabilities are corrected for it afterwards.
        calibration: ``platt``, or ``isotonic``, which bends more, needs about a thousand validation rows, better a
            thousand churners among them, and makes plateaus, on which contributions are near nothing.
    """

    candidates: tuple[Literal["logistic", "forest", "boosted", "blend"], ...] = (
        "logistic",
        "forest",
        "boosted",
        "blend",
    )
    knots: int = Field(5, ge=1)
    logistic_penalty: float = Field(0.002, ge=0.0)
    forest_trees: int = Field(100, ge=1)
    forest_depth: int = Field(10, ge=1, le=30)
    boosted_trees: int = Field(30, ge=1)
    boosted_depth: int = Field(2, ge=1, le=30)
    boosted_step: float = Field(0.3, gt=0.0, le=1.0)
    tree_leaf: int = Field(5, ge=1)
    max_levels: int = Field(100, ge=2)
    vocabulary: int = Field(200, ge=1)
    min_word_rows: int = Field(20, ge=1)
    max_correlation: float = Field(1.0, gt=0.0, le=1.0)
    positive_weight: float = Field(1.0, gt=0.0)
    calibration: Literal["platt", "isotonic"] = "platt"

    @model_validator(mode="after")
    def _candidates(self) -> "ModelConfig":
        singles = set(self.candidates) - {"blend"}
        needed = 2 if "blend" in self.candidates else 1
        if len(singles) < needed or len(set(self.candidates)) < len(self.candidates):
            raise ValueError(
                f"model.candidates is {list(self.candidates)}: name logistic, forest, boosted once each, at least one, "
                "and at least two for their blend"
            )
        return self


# What can be searched for each candidate, and over what, unless tuning.space says otherwise. What two of them share is
# searched with the first of a model's candidates.
SEARCHED: Mapping[str, Mapping[str, Parameter]] = {
    "logistic": {
        "logistic_penalty": Parameter(low=0.0001, high=0.3, log=True, points=5, simpler="high"),
        "knots": Parameter(low=1, high=9),
    },
    "forest": {
        "forest_trees": Parameter(low=50, high=150),
        "forest_depth": Parameter(low=4, high=12),
        "tree_leaf": Parameter(low=2, high=50, log=True, simpler="high"),
    },
    "boosted": {
        "boosted_trees": Parameter(low=10, high=60),
        "boosted_depth": Parameter(low=1, high=4, points=4),
        "boosted_step": Parameter(low=0.05, high=0.5, log=True),
        "tree_leaf": Parameter(low=2, high=50, log=True, simpler="high"),
    },
}


def space_of(candidate: str, model: ModelConfig, own: Mapping[str, Parameter]) -> Space:
    """Return what is searched for a candidate; empty where nothing is.

    Args:
        candidate: one of ``model.candidates``.
        model: the settings; a candidate before this one in them takes what both share.
        own: ``tuning.space``.

    Raises:
        ConfigError: SPACE_INVALID: a name that is none of the candidates in use, or a value that the model refuses.
    """
    in_use = [name for name in model.candidates if name in SEARCHED]
    owners = {setting: name for name in reversed(in_use) for setting in SEARCHED[name]}
    known = {setting: SEARCHED[name][setting] for setting, name in owners.items()}
    declared = Space.of(with_order(own, known) if own else known, ModelConfig, list(owners))
    parameters = {name: each for name, each in declared.parameters.items() if owners[name] == candidate}
    return Space(parameters, declared.whole & parameters.keys())


class CostConfig(Settings):
    """The money of one customer.

    Args:
        contact: cost of one retention offer, in your currency.
        value_saved: value of a customer who stays.
        success_rate: share of churners whom the offer keeps.
    """

    contact: float = Field(10.0, gt=0.0)
    value_saved: float = Field(200.0, gt=0.0)
    success_rate: float = Field(0.3, gt=0.0, le=1.0)


class ChurnConfig(RunConfig):
    """Settings of the churn vertical.

    Args:
        shape: ``subscriptions`` (five event tables), ``purchases`` (an event log) or ``customers`` (a labelled table).
        sources: per table how it is read where that differs, e.g. ``{customers: {path: crm.csv, delimiter: ";", columns:
            {ID: customer_id}}}`` or ``{payments: {format: jdbc, database: {…}}}``; ``source`` must be set, and when every
            table has its own path or database it is only a name for the run.
        data: the columns of a source that is neither of the publishers' nor as `schema.py` declares; for ``customers`` and
            ``purchases``.
        words: how messages to support and ``data.texts`` become words.
        max_failed_share: share of rows of a table that may go to quarantine before the run stops.
        max_single_auc: a single feature that ranks the label better than this is taken for the label itself.
    """

    shape: Shape = "subscriptions"
    sources: Mapping[str, Source] = {}
    data: OwnDataConfig | None = None
    words: WordsConfig = WordsConfig()
    sample: SampleConfig = SampleConfig()
    label: LabelConfig = LabelConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    tuning: TuningConfig = TuningConfig()
    costs: CostConfig = CostConfig()
    gates: GateConfig = GateConfig()
    serving: ServingConfig = ServingConfig()
    ab: AbConfig = AbConfig()
    scoring: BatchConfig = BatchConfig()
    stream: StreamConfig = StreamConfig()
    monitoring: MonitoringConfig = MonitoringConfig()
    bootstrap_replicates: int = Field(200, ge=20)
    max_failed_share: float = Field(0.05, ge=0.0, lt=1.0)
    max_single_auc: float = Field(0.995, gt=0.5, le=1.0)

    @model_validator(mode="after")
    def _dates(self) -> "ChurnConfig":
        if self.sources and self.source is None:
            raise ValueError("sources is set but source is not, which means the embedded data; set source too")
        if self.shape == "customers" and self.split.by == "time":
            raise ValueError(
                "shape customers has no dates to split by; set split.by=customer, split.validation=0.2, split.test=0.2"
            )
        return self

    @model_validator(mode="after")
    def _space(self) -> "ChurnConfig":
        space_of(self.model.candidates[0], self.model, self.tuning.space)
        return self

    @model_validator(mode="after")
    def _own_data(self) -> "ChurnConfig":
        if self.data is None:
            return self
        if self.shape == "subscriptions":
            raise ValueError("data is for the shapes customers and purchases; set shape, or remove data")
        if self.shape == "purchases" and not set(self.data.columns) <= set(LOG_VALUES):
            raise ValueError(f"data.columns is {list(self.data.columns)}: an event log keeps only {list(LOG_VALUES)}")
        if self.shape == "customers":
            _check_own_table(self.data)
        return self


def _check_own_table(data: OwnDataConfig) -> None:
    if data.columns.get(data.label) != "string" or not data.positive or not data.negative:
        raise ValueError(
            "data needs a label, which is a string among data.columns, and its positive and negative values"
        )
    unknown = sorted({*data.slices, *data.texts} - set(data.columns))
    if unknown:
        raise ValueError(f"data.slices and data.texts name {unknown}, which data.columns does not have")
    if wrong := [name for name in data.texts if name == data.label or data.columns[name] != "string"]:
        raise ValueError(f"data.texts names {wrong}; only strings that are not the label are texts")
    if data.as_of is None and {"date", "timestamp"} & set(data.columns.values()):
        raise ValueError("data.columns has dates: set data.as_of, the day they are counted back from")


# What ingestion and features do not depend on; a setting that is added counts for both until it is named here.
LATER_SETTINGS = {
    "tracking_uri",
    "model",
    "tuning",
    "costs",
    "gates",
    "ab",
    "scoring",
    "stream",
    "monitoring",
    "serving",
    "bootstrap_replicates",
    "max_single_auc",
}
_AS_TRAINED = ("shape", "source", "sources", "data", "words", "sample", "label", "split", "model")


def as_trained(recorded: Mapping[str, Any], config: ChurnConfig) -> ChurnConfig:
    """Return the settings of a command that uses a model: what the model was trained on, and the command's own rest.

    Shape, source, sample, label, split and model are the training run's, whatever the command says or leaves out; so are
    the costs that the command does not name. Seed, warehouse, session and the others are the command's.

    Args:
        recorded: the document ``config`` of the training run.
        config: settings of the command.

    Raises:
        ModelError: RECORDED_CONFIG_INVALID.
    """
    then = ChurnConfig.of_run(recorded)
    named = {name: getattr(config.costs, name) for name in config.costs.model_fields_set}
    costs = then.costs.model_copy(update=named)
    return config.model_copy(update={name: getattr(then, name) for name in _AS_TRAINED} | {"costs": costs})


def layers(source: str | None) -> Sequence[str]:
    """Return the yaml texts below the user's own: for the embedded data, or what the publisher's files call for."""
    if source is None:
        return (_text("base.yaml"),)
    names = {source.rstrip("/").rpartition("/")[2]}
    if "://" not in source and Path(source).is_dir():
        names |= {child.name for child in Path(source).iterdir()}
    if "Telco-Customer-Churn.csv" in names:
        return (_text("telco.yaml"),)
    if names & {"CDNOW_master.txt.gz", "CDNOW_master.txt"}:
        return (_text("cdnow.yaml"),)
    return ()


def _text(name: str) -> str:
    return (files("churn") / "conf" / name).read_text(encoding="utf-8")
