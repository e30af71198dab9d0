"""Models of the configured registry: which version an alias names, and its verified bundle."""

from collections.abc import Callable

from pydantic import ValidationError

from shared.core.errors import ModelError
from shared.core.run import RunConfig
from shared.deploy.online import bundle, compared
from shared.deploy.online.bundle import Contract, OnlineModel
from shared.deploy.online.service import Served, Version
from shared.registry import documents, files, tracking, versions
from shared.registry.versions import Registered

ThresholdOf = Callable[[Contract, Registered], float]


class RegistrySource:
    """The versions of one registered model, by an alias.

    Args:
        config: says where the registry is.
        name: of the registered model.
        alias: whose version is served.
        threshold: gives the threshold of a decision for a model and the version that it is.
        require_parity: load no version that has no evaluation with a comparison with Spark on rows enough and within the
            tolerance.
    """

    def __init__(
        self, config: RunConfig, name: str, alias: str, threshold: ThresholdOf, *, require_parity: bool = True
    ) -> None:
        self._client = tracking.connect(config, name)
        self._name, self._alias, self._threshold = name, alias, threshold
        self._require_parity = require_parity

    def newest(self) -> Version:
        """Return the version that the alias names.

        Raises:
            ModelError: MODEL_MISSING.
            EnvironmentProblem: the registry cannot say.
        """
        found = versions.find(self._client, self._name, self._alias)
        return Version(found.version, found.run.info.run_id)

    def load(self, version: Version) -> Served:
        """Return the model of a version, every file of it verified.

        Raises:
            ModelError: MODEL_MISSING (also when the number is another run's by now), MODEL_TAMPERED, MODEL_INCOMPLETE
                (it was not exported), BUNDLE_UNREADABLE, DOCUMENT_CHANGED, EXPORT_NOT_COMPARED, EXPORT_MISMATCH.
            EnvironmentProblem: the registry cannot be read.
        """
        found = versions.at_version(self._client, self._name, *version)
        with files.fetched(found, bundle.FOLDER) as folder:
            model = OnlineModel.read(folder)
        if self._require_parity:
            compared.refuse(_parity(found))
        return Served(found.name, version, model, self._threshold(model.contract, found))


def _parity(model: Registered) -> compared.Parity:
    evaluation = documents.added_if_any(model, "evaluation") or {}
    try:
        return compared.Parity.model_validate(evaluation.get("parity"))
    except ValidationError as error:
        raise ModelError(
            "EXPORT_NOT_COMPARED",
            f"Version {model.version} of {model.name} has no comparison of its export with Spark.",
            "An evaluation with one.",
            "Run evaluate with serving.export=true, or set serving.require_parity=false.",
        ) from error
