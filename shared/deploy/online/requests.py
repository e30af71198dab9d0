"""What a request may say, by the contract of the model that is served: anything else is refused before it is scored."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    create_model,
)

from shared.deploy.online.bundle import Contract, Kind, Row, Value

_LONGEST_ID: Final = 200
_LONGEST_NAME: Final = 80
_LISTED: Final = 5
_INT: Final = (-(2**63), 2**63 - 1)


def _whole(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # JSON may hold half of a surrogate pair
            raise ValueError("it is no valid Unicode") from None
    return text


def _string(longest: int) -> Any:
    return Annotated[StrictStr, Field(max_length=longest), AfterValidator(_whole)]


# Strict: "3" is no number, and 1 is no truth. A number may be written without a point.
_KINDS: Final[dict[Kind, Any]] = {
    "double": Annotated[float, Field(strict=True, allow_inf_nan=False)],
    "int": Annotated[StrictInt, Field(ge=_INT[0], le=_INT[1])],
    "boolean": StrictBool,
}


class RequestRefused(Exception):
    """A request that is not answered.

    Args:
        status: of the response.
        code: stable identifier in capitals.
        message: for the client; repeats none of its values.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(f"[{code}] {message}")


@dataclass(frozen=True)
class Asked:
    """A row to score and the client's own name for it, which the answer repeats."""

    id: str | None
    row: Row


class Requests:
    """Reads requests to one model. Every feature must be there; null says that it is not known."""

    def __init__(self, contract: Contract, max_rows: int, max_text: int) -> None:
        strict = ConfigDict(extra="forbid", hide_input_in_errors=True)
        self._names = list(contract.inputs)
        # Not the features' own names: a field may not be called as what pydantic's models have.
        kinds = {**_KINDS, "string": _string(max_text), "text": _string(max_text)}
        fields: dict[str, Any] = {
            f"f{place}": (kinds[kind] | None, Field(alias=name))
            for place, (name, kind) in enumerate(contract.inputs.items())
        }
        features = create_model("Features", __config__=strict, **fields)
        identity: Any = (_string(_LONGEST_ID) | None, None)
        self.single: type[BaseModel] = create_model("Row", __config__=strict, id=identity, features=(features, ...))
        rows = Annotated[list[self.single], Field(min_length=1, max_length=max_rows)]  # type: ignore[name-defined]
        self.bulk: type[BaseModel] = create_model("Rows", __config__=strict, rows=(rows, ...))
        self.example = {"id": "C0000001", "features": dict(contract.typical)}

    def read_single(self, body: bytes) -> list[Asked]:
        """Return the one row of a request.

        Raises:
            RequestRefused: 400 when the body is no JSON, 422 when it is not of the contract.
        """
        return [self._asked(self._read(self.single, body))]

    def read_bulk(self, body: bytes) -> list[Asked]:
        """Return the rows of a request; errors as `read_single`."""
        return [self._asked(row) for row in self._read(self.bulk, body).rows]  # type: ignore[attr-defined]

    def _asked(self, row: Any) -> Asked:
        return Asked(row.id, dict(zip(self._names, _values(row.features, len(self._names)), strict=True)))

    def _read(self, kind: type[BaseModel], body: bytes) -> BaseModel:
        try:
            return kind.model_validate(json.loads(body, parse_constant=_no_number))
        except ValidationError as error:
            problems = "; ".join(_sentence(problem) for problem in error.errors()[:_LISTED])
            raise RequestRefused(422, "REQUEST_INVALID", f"{problems}.") from None
        except (ValueError, RecursionError):
            raise RequestRefused(400, "REQUEST_UNREADABLE", "The body is no JSON.") from None


def _no_number(text: str) -> float:
    raise ValueError(text)  # NaN and Infinity are no JSON


def _values(features: Any, count: int) -> Sequence[Value]:
    return [getattr(features, f"f{place}") for place in range(count)]


def _sentence(problem: Any) -> str:
    where = ".".join(_name(part) for part in problem["loc"])
    return f"{where}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _name(part: Any) -> str:
    # Of a feature that is not in the contract it is the client's own.
    return str(part)[:_LONGEST_NAME]
