"""Settings of the export and of the online service."""

from typing import Literal

from pydantic import Field, field_validator

from shared.core.config import Settings
from shared.core.references import is_reference, refused


class ServingConfig(Settings):
    """The exported model and the service.

    Args:
        export: `train` also exports the model; False where it is only scored in batches.
        parity_rows: test rows on which the export is compared with Spark, beside rows with nulls, unseen levels and
            extremes; at least 1,000 where there are so many.
        tolerance: largest difference of a probability that is accepted.
        host, port: where the service listens; port 0 takes a free one.
        keys: references (``env:NAME``, ``file:/path``) to the keys that are let in; several, so that one can be changed.
        insecure_local: let everybody in; only on the loopback address.
        alias: which model is served; a change of it is followed without a restart.
        poll_seconds: how often the registry is asked for it.
        reasons: reasons in an answer, at most.
        max_rows: rows of a bulk request.
        max_bytes: bytes of the body of a request.
        drain_seconds: time for requests under way when the service is told to stop.
    """

    export: bool = True
    parity_rows: int = Field(2_000, ge=1)
    tolerance: float = Field(1e-5, gt=0.0)
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    keys: tuple[str, ...] = ()
    insecure_local: bool = False
    alias: Literal["champion", "challenger"] = "champion"
    poll_seconds: float = Field(10.0, gt=0.0)
    reasons: int = Field(3, ge=0)
    max_rows: int = Field(1_000, ge=1)
    max_bytes: int = Field(2_000_000, ge=1_000)
    drain_seconds: int = Field(10, ge=0)

    @field_validator("keys")
    @classmethod
    def _are_references(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if not all(is_reference(key) for key in keys):
            raise refused("A key in serving.keys")
        return keys
