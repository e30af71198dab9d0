"""Models of the configured registry: which version an alias names, and its verified bundle."""

from collections.abc import Callable

from shared.core.run import RunConfig
from shared.deploy.online import bundle
from shared.deploy.online.bundle import Contract, OnlineModel
from shared.deploy.online.service import Served
from shared.registry import files, tracking, versions
from shared.registry.tracking import Run

ThresholdOf = Callable[[Contract, Run], float]


class RegistrySource:
    """The versions of one registered model, by an alias.

    Args:
        config: says where the registry is.
        name: of the registered model.
        alias: whose version is served.
        threshold: gives the threshold of a decision for a model and the run that trained it.
    """

    def __init__(self, config: RunConfig, name: str, alias: str, threshold: ThresholdOf) -> None:
        self._client = tracking.connect(config, name)
        self._name, self._alias, self._threshold = name, alias, threshold

    def newest(self) -> int:
        """Return the version that the alias names.

        Raises:
            ModelError: MODEL_MISSING.
            EnvironmentProblem: the registry cannot say.
        """
        return versions.find(self._client, self._name, self._alias).version

    def load(self, version: int) -> Served:
        """Return the model of a version, every file of it verified.

        Raises:
            ModelError: MODEL_MISSING, MODEL_TAMPERED, MODEL_INCOMPLETE (it was not exported), BUNDLE_UNREADABLE.
            EnvironmentProblem: the registry cannot be read.
        """
        found = versions.at_version(self._client, self._name, version)
        model = OnlineModel.read(files.fetch(found, bundle.FOLDER))
        return Served(found.name, found.version, model, self._threshold(model.contract, found.run))
