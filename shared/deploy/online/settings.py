"""Settings of the export and of the online service."""

from typing import Literal

from pydantic import Field, field_validator

from shared.core.config import Settings
from shared.core.references import is_reference, refused
from shared.registry.gates import PARITY_ROWS, PARITY_TOLERANCE


class ServingConfig(Settings):
    """The exported model and the service.

    Args:
        export: `train` also exports the model; False where it is only scored in batches.
        parity_rows: rows of the table on which the export is compared with Spark, or all where it has fewer; beside
            edge cases and, where they are fewer than 1,000, rows drawn from their values up to that.
        tolerance: largest difference of a probability that is accepted.
        require_parity: serve only a model whose evaluation holds such a comparison, within 1e-5, on at least 1,000 rows.
        host, port: where the service listens; port 0 takes a free one.
        keys: references (``env:NAME``, ``file:/path``) to the keys that are let in; several, so that one can be changed.
        insecure_local: let everybody in; only on the loopback address.
        alias: which model is served; a change of it is followed without a restart.
        poll_seconds: how often the registry is asked for it.
        reasons: reasons in an answer, at most.
        max_rows: rows of a bulk request.
        max_bytes: bytes of the body of a request.
        max_text: characters of a value that is a text.
        body_seconds: time in which the body of a request has to arrive.
        max_connections: connections at a time, idle ones and requests under way; who comes beyond them gets a 503.
        drain_seconds: time for requests under way when the service is told to stop.
    """

    export: bool = True
    parity_rows: int = Field(2_000, ge=PARITY_ROWS)
    tolerance: float = Field(PARITY_TOLERANCE, gt=0.0, le=PARITY_TOLERANCE)
    require_parity: bool = True
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    keys: tuple[str, ...] = ()
    insecure_local: bool = False
    alias: Literal["champion", "challenger"] = "champion"
    poll_seconds: float = Field(10.0, gt=0.0)
    reasons: int = Field(3, ge=0)
    max_rows: int = Field(1_000, ge=1)
    max_bytes: int = Field(2_000_000, ge=1_000)
    max_text: int = Field(10_000, ge=1)
    body_seconds: float = Field(10.0, gt=0.0)
    max_connections: int = Field(1_000, ge=1)
    drain_seconds: int = Field(10, ge=0)

    @field_validator("keys")
    @classmethod
    def _are_references(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if not all(is_reference(key) for key in keys):
            raise refused("A key in serving.keys")
        return keys
