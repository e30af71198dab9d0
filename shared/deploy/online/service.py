"""The model that answers now, and how it is changed for the next without a pause.

A model that cannot be loaded or verified never takes the place of one that answers.
"""

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

from shared.core.errors import AcceleratorError
from shared.core.log import get_logger
from shared.deploy.online.bundle import OnlineModel, Reason
from shared.deploy.online.metrics import OnlineMetrics
from shared.deploy.online.requests import Asked, RequestRefused, Requests
from shared.deploy.online.settings import ServingConfig

_LOG = get_logger("online")
_LONGEST_REST = 64  # polls


class Version(NamedTuple):
    """A version of a registered model: its number, and the run that trained it.

    The number alone does not tell: a registered model that was deleted and made anew counts from 1 again.
    """

    number: int
    run_id: str


@dataclass(frozen=True)
class Served:
    """A loaded model.

    Args:
        name, version: of the registered model.
        model: answers.
        threshold: from which the decision is the first of the contract's.
    """

    name: str
    version: Version
    model: OnlineModel
    threshold: float


@dataclass(frozen=True)
class Current:
    """The model that answers, and what it may be asked: a request takes both at once, as they may change under it."""

    served: Served
    requests: Requests


class Source(Protocol):
    """Where models come from."""

    def newest(self) -> Version:
        """Return the version that is to be served."""
        ...

    def load(self, version: Version) -> Served:
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
        self._bad = _Bad()
        self._take(source.load(source.newest()))

    @property
    def served(self) -> Served:
        """The model that answers now."""
        return self.current.served

    def _take(self, served: Served) -> None:
        self.current = Current(served, Requests(served.model.contract, self.config.max_rows, self.config.max_text))
        self.metrics.took(served.name, served.version.number)
        _LOG.info("model served", extra={"model": served.name, **_logged(served.version)})

    async def follow(self) -> None:
        """Ask for the newest version again and again, and take it; until it is cancelled."""
        while True:
            await asyncio.sleep(self.config.poll_seconds)
            await self.refresh()

    async def refresh(self) -> bool:
        """Take the newest version if it is another one; return whether it did.

        A version that was refused is tried again after 1, 2, 4, … up to 64 further calls, as long as it is the newest.
        """
        newest = None
        try:
            newest = await asyncio.to_thread(self._source.newest)
            if newest == self.served.version or self._bad.rests(newest):
                return False
            self._take(await asyncio.to_thread(self._source.load, newest))
        except Exception as error:  # noqa: BLE001 - whatever it is, who serves goes on with what it has, and says so
            self._bad.note(newest)
            self.metrics.refused()
            code = error.code if isinstance(error, AcceleratorError) else type(error).__name__
            _LOG.error("model not changed", extra={"code": code, "reason": str(error), **_logged(newest)})
            return False
        self._bad = _Bad()
        return True

    def answer(self, body: bytes, *, bulk: bool) -> bytes:
        """Return the answer to the body of a request as JSON, all of it by one model, and count its probabilities.

        Raises:
            RequestRefused: 400 when the body is no JSON; 422 when it is not of the contract, or the model has no finite
                answer to its numbers.
        """
        current = self.current
        asked = (current.requests.read_bulk if bulk else current.requests.read_single)(body)
        answers = self.example(current, asked)
        text = as_json({"rows": answers} if bulk else answers[0])
        for answer in answers:
            self.metrics.probability.observe(answer["probability"])
        return text

    def example(self, current: Current, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        """Return an answer for each row, uncounted.

        Raises:
            RequestRefused: 422, NOT_FINITE.
        """
        served = current.served
        above, below = served.model.contract.decisions
        scored = served.model.explained([row.row for row in asked], self.config.reasons)
        for place, (probability, reasons) in enumerate(scored):
            if not all(map(math.isfinite, (probability, *(reason.contribution for reason in reasons)))):
                raise RequestRefused(422, "NOT_FINITE", f"The numbers of row {place} are too extreme for the model.")
        return [
            {
                "id": row.id,
                "prediction_id": uuid4().hex,
                "probability": probability,
                "decision": above if probability >= served.threshold else below,
                "reasons": [_as_dict(reason) for reason in reasons],
                "model": {"name": served.name, "version": served.version.number},
            }
            for row, (probability, reasons) in zip(asked, scored, strict=True)
        ]


@dataclass
class _Bad:
    """A version that was refused, and for how many polls it is left alone."""

    version: Version | None = None
    tries: int = 0
    rest: int = 0

    def note(self, version: Version | None) -> None:
        self.tries = self.tries + 1 if version == self.version else 1
        self.version, self.rest = version, min(2 ** (self.tries - 1), _LONGEST_REST)

    def rests(self, version: Version) -> bool:
        if version != self.version or not self.rest:
            return False
        self.rest -= 1
        return True


def as_json(content: Any) -> bytes:
    """Return JSON as the service sends it.

    >>> as_json({"é": 1})
    b'{"\\xc3\\xa9":1}'
    """
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _logged(version: Version | None) -> dict[str, Any]:
    return {"version": version and version.number, "model_run_id": version and version.run_id}


def _as_dict(reason: Reason) -> dict[str, Any]:
    return {"feature": reason.feature, "value": reason.value, "contribution": reason.contribution}
