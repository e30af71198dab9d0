"""The HTTP side: `/score`, `/score/bulk`, `/model`, `/openapi.json` by key; `/live`, `/ready`, `/metrics` for everybody.

The body is read and checked here rather than by FastAPI's own models, since the model that is served, and with it what a
request must hold, may change while the service runs.
"""

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from shared.core.log import get_logger
from shared.deploy.online.requests import RequestRefused
from shared.deploy.online.service import Current, Service, as_json
from shared.deploy.online.settings import ServingConfig

_LOG = get_logger("online")
_KEY = "X-API-Key"
# A longer body, of many rows or a long text, is answered in a thread, so that small requests do not wait for it.
_AT_ONCE = 8_192
_HUNG_UP = 499  # as others count it; nobody reads it
_JSON = "application/json"
_REF = "#/components/schemas/{model}"


def build(service: Service, keys: Sequence[str]) -> FastAPI:
    """Return the application of a service.

    Args:
        service: answers.
        keys: the keys that are let in; none lets everybody in.
    """

    @asynccontextmanager
    async def following(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(service.follow())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    vertical = service.served.model.contract.vertical
    app = FastAPI(title=f"{vertical} scores", version="1", openapi_url=None, lifespan=following)
    door = _Door(keys)

    async def scored(request: Request, endpoint: str) -> Response:
        started, bulk = time.perf_counter(), endpoint == "bulk"
        status, headers = 500, None
        try:
            door.check(request)
            body = await _body(request, service.config)
            if len(body) <= _AT_ONCE:
                content = service.answer(body, bulk=bulk)
            else:
                content = await asyncio.to_thread(service.answer, body, bulk=bulk)
            status = 200
        except RequestRefused as refusal:
            status, content = refusal.status, as_json(_problem(refusal.code, refusal.message))
            # Where the rest of the body is not waited for, the connection cannot be used again.
            headers = {"Connection": "close"} if status in (408, 413) else None
        except ClientDisconnect:
            status, content = _HUNG_UP, b""
        finally:
            service.metrics.answered(endpoint, status, time.perf_counter() - started)
        return Response(content, status, headers, _JSON)

    @app.post("/score", summary="Score one row.")
    async def score(request: Request) -> Response:
        return await scored(request, "score")

    @app.post("/score/bulk", summary="Score several rows.")
    async def score_bulk(request: Request) -> Response:
        return await scored(request, "bulk")

    @app.get("/model", summary="Which model answers, and what it must be given.")
    async def model(request: Request) -> Response:
        door.check(request)
        served = service.served
        contract = served.model.contract
        return JSONResponse(
            {
                "name": served.name,
                "version": served.version.number,
                "threshold": served.threshold,
                "decisions": contract.decisions,
                "features": dict(contract.inputs),
            }
        )

    described: dict[str, Any] = {}

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        door.check(request)
        current = service.current
        if described.get("of") is not current:
            described.update(of=current, text=as_json(_openapi(app, service, current)))
        return Response(described["text"], media_type=_JSON)

    @app.get("/live", summary="The process runs.")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/ready", summary="A model is loaded and requests are answered.")
    async def ready() -> dict[str, Any]:
        return {"status": "ready", "version": service.served.version.number}

    @app.get("/metrics", summary="Figures for Prometheus.")
    async def metrics() -> Response:
        return Response(service.metrics.as_text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(RequestRefused)
    async def not_let_in(_: Request, refusal: RequestRefused) -> Response:
        return JSONResponse(_problem(refusal.code, refusal.message), refusal.status)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return JSONResponse(
            _problem("NOT_FOUND" if error.status_code == 404 else "REFUSED", error.detail), error.status_code
        )

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        _LOG.error("request failed", exc_info=error)
        return JSONResponse(_problem("INTERNAL", "The service failed; its log tells."), 500)

    return app


class _Door:
    """Lets a request in by its key."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._known = [sha256(key.encode()).digest() for key in keys]

    def check(self, request: Request) -> None:
        if not self._known:
            return
        given = request.headers.get(_KEY)
        if given is None:
            raise RequestRefused(401, "KEY_MISSING", f"The header {_KEY} is missing.")
        # All are compared, so that the time tells nothing.
        digest = sha256(given.encode("utf-8", "surrogateescape")).digest()
        if not sum(hmac.compare_digest(digest, known) for known in self._known):
            raise RequestRefused(401, "KEY_WRONG", f"The key in {_KEY} is not known.")


async def _body(request: Request, config: ServingConfig) -> bytes:
    """Return the body; one that is too large or too slow is not read to its end."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(config.body_seconds):
            async for part in request.stream():
                size += len(part)
                if size > config.max_bytes:
                    raise RequestRefused(413, "REQUEST_TOO_LARGE", f"The body is larger than {config.max_bytes} bytes.")
                parts.append(part)
    except TimeoutError:
        raise RequestRefused(
            408, "REQUEST_TOO_SLOW", f"The body did not arrive within {config.body_seconds:g} seconds."
        ) from None
    return b"".join(parts)


def _problem(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _openapi(app: FastAPI, service: Service, current: Current) -> dict[str, Any]:
    """Return the description of the service for a model."""
    text = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas: dict[str, Any] = text.setdefault("components", {}).setdefault("schemas", {})
    text["components"]["securitySchemes"] = {"key": {"type": "apiKey", "in": "header", "name": _KEY}}
    requests = current.requests
    examples = {
        "/score": (requests.single, requests.example),
        "/score/bulk": (requests.bulk, {"rows": [requests.example]}),
    }
    answer = service.example(current, requests.read_single(json.dumps(requests.example).encode()))[0]
    for path, (kind, example) in examples.items():
        schema = kind.model_json_schema(ref_template=_REF)
        schemas |= schema.pop("$defs", {})
        operation = text["paths"][path]["post"]
        operation["security"] = [{"key": []}]
        operation["requestBody"] = {"required": True, "content": _content(schema, example)}
        shown = answer if path == "/score" else {"rows": [answer]}
        operation["responses"]["200"]["content"] = _content({"type": "object"}, shown)
        operation["responses"] |= {status: {"description": what} for status, what in _REFUSALS.items()}
    return text


_REFUSALS = {
    "400": "The body is no JSON.",
    "401": "No key, or a wrong one.",
    "408": "The body arrives too slowly.",
    "413": "The body is too large.",
    "422": "The body is not of the contract, or its numbers are too extreme for the model.",
    "503": "More connections than the service takes.",
}


def _content(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema, "example": example}}
