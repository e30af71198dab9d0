"""The model that answers now, and how it is changed for the next without a pause.

A model that cannot be loaded or verified never takes the place of one that answers.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from shared.core.errors import AcceleratorError
from shared.core.log import get_logger
from shared.deploy.online.bundle import OnlineModel, Reason
from shared.deploy.online.metrics import OnlineMetrics
from shared.deploy.online.requests import Asked, Requests
from shared.deploy.online.settings import ServingConfig

_LOG = get_logger("online")


@dataclass(frozen=True)
class Served:
    """A loaded model.

    Args:
        name, version: of the registered model.
        model: answers.
        threshold: from which the decision is the first of the contract's.
    """

    name: str
    version: int
    model: OnlineModel
    threshold: float


class Source(Protocol):
    """Where models come from."""

    def newest(self) -> int:
        """Return the version that is to be served."""
        ...

    def load(self, version: int) -> Served:
        """Return the verified model of a version."""
        ...


class Service:
    """Answers rows with the current model."""

    def __init__(self, source: Source, config: ServingConfig, metrics: OnlineMetrics) -> None:
        """Load the first model.

        Raises:
            ModelError: there is none, or it is refused.
        """
        self.config, self.metrics = config, metrics
        self._source = source
        self._take(source.load(source.newest()))

    def _take(self, served: Served) -> None:
        requests = Requests(served.model.contract, self.config.max_rows)
        self.served, self.requests = served, requests
        self.metrics.took(served.name, served.version)
        _LOG.info("model served", extra={"model": served.name, "version": served.version})

    async def follow(self) -> None:
        """Ask for the newest version again and again, and take it; until it is cancelled."""
        while True:
            await asyncio.sleep(self.config.poll_seconds)
            await self.refresh()

    async def refresh(self) -> bool:
        """Take the newest version if it is another one; return whether it did."""
        try:
            newest = await asyncio.to_thread(self._source.newest)
            if newest == self.served.version:
                return False
            self._take(await asyncio.to_thread(self._source.load, newest))
        except AcceleratorError as error:
            # The registry may be away for a while, or the model bad: who serves goes on with what it has.
            self.metrics.refused()
            _LOG.error("model not changed", extra={"code": error.code, "reason": str(error)})
            return False
        return True

    def answer(self, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        """Return an answer for each row, by one model, and count it."""
        answers = self.example(asked)
        for answer in answers:
            self.metrics.probability.observe(answer["probability"])
        return answers

    def example(self, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        """Return what `answer` does, uncounted."""
        served = self.served
        above, below = served.model.contract.decisions
        scored = served.model.explained([row.row for row in asked], self.config.reasons)
        return [
            {
                "id": row.id,
                "prediction_id": uuid4().hex,
                "probability": probability,
                "decision": above if probability >= served.threshold else below,
                "reasons": [_as_dict(reason) for reason in reasons],
                "model": {"name": served.name, "version": served.version},
            }
            for row, (probability, reasons) in zip(asked, scored, strict=True)
        ]


def _as_dict(reason: Reason) -> dict[str, Any]:
    return {"feature": reason.feature, "value": reason.value, "contribution": reason.contribution}
