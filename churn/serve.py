"""Answer requests with the exported champion; needs neither Spark nor a JVM.

`python -m churn serve`, or `python -m churn.serve` where only the packages of the online image are installed.
"""

import sys
from typing import TYPE_CHECKING

from churn.config import MODEL, ChurnConfig, as_trained, layers
from shared.cli.command import command
from shared.evaluation.costs import Costs
from shared.registry import documents
from shared.registry.versions import Registered

if TYPE_CHECKING:
    from shared.deploy.online.bundle import Contract


def serve(config: ChurnConfig, run_id: str) -> None:
    """Serve the exported champion over HTTP until the process is told to stop.

    Raises:
        ConfigError: no key is set.
        ModelError: there is no champion, it is not exported, its files are not those that were registered, or
            its comparison with Spark is missing or too far off.
        EnvironmentProblem: the registry cannot be read, or the address is taken.
    """
    # Only who serves needs the packages of the service; every other verb starts without them, and sooner.
    from shared.deploy.online import server
    from shared.deploy.online.metrics import OnlineMetrics
    from shared.deploy.online.registry import RegistrySource
    from shared.deploy.online.service import Service

    keys = server.keys_of(config.serving)

    def threshold(contract: "Contract", model: Registered) -> float:
        # By the costs of this command, as in score-batch; else by those the model was trained with.
        if not config.costs.model_fields_set:
            return contract.threshold
        then = as_trained(documents.logged(model, "config"), config)
        return Costs(**then.costs.model_dump()).threshold

    source = RegistrySource(
        config, MODEL, config.serving.alias, threshold, require_parity=config.serving.require_parity
    )
    service = Service(source, config.serving, OnlineMetrics(MODEL))

    def listening(address: str) -> None:
        print(f"churn  version {service.served.version.number} answers at {address}", flush=True)  # noqa: T201 - its output

    server.run(service, keys, listening)


COMMAND = command("serve", serve, ChurnConfig, layers, vertical="churn")

if __name__ == "__main__":
    sys.exit(COMMAND.main(standalone_mode=True))
