"""The service over HTTP, on a small model that is loaded without Spark."""

import asyncio
import json
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from shared.core.errors import ModelError
from shared.deploy.online.app import build
from shared.deploy.online.bundle import OnlineModel
from shared.deploy.online.metrics import OnlineMetrics
from shared.deploy.online.requests import Asked, RequestRefused
from shared.deploy.online.service import Served, Service, Version
from shared.deploy.online.settings import ServingConfig
from tests.shared.deploy.online.conftest import CONTRACT, graph

ROW = {"x": 1.0, "visits": 3, "is_new": True, "plan": "a"}
KEY = {"X-API-Key": "first"}


class Models:
    """A registry of two versions, of which the second may be bad."""

    def __init__(self) -> None:
        self.version, self.run_id = 1, "first"
        self.tail = "0.0D"
        self.problem: Exception | None = None

    def newest(self) -> Version:
        return Version(self.version, self.run_id)

    def load(self, version: Version) -> Served:
        if self.problem:
            raise self.problem
        model = OnlineModel(CONTRACT, graph(slope=2.0 * version.number, tail=self.tail))
        return Served("example", version, model, CONTRACT.threshold)


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def service(models: Models) -> Service:
    return Service(
        models, ServingConfig(max_rows=5, max_bytes=2_000, max_text=100, reasons=2), OnlineMetrics("example")
    )


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(service: Service) -> Ask:
    app = build(service, ["first", "second"])

    def send(method: str, path: str, **request: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.request(method, path, **{"headers": KEY, **request})

        return asyncio.run(once())

    return send


def test_a_row_is_answered_with_probability_decision_reasons_and_model(ask: Ask) -> None:
    answer = ask("POST", "/score", json={"id": "C1", "features": ROW}).json()

    assert len(answer.pop("prediction_id")) == 32
    assert answer == {
        "id": "C1",
        "probability": pytest.approx(1 / (1 + math.exp(-2))),
        "decision": "contact",
        "reasons": [
            {"feature": "plan", "value": "a", "contribution": 1.0},
            {"feature": "x", "value": 1.0, "contribution": 1.0},
        ],
        "model": {"name": "example", "version": 1},
    }


def test_rows_of_a_bulk_request_are_answered_in_order(ask: Ask) -> None:
    rows = [{"id": str(place), "features": {**ROW, "x": float(place)}} for place in range(5)]

    answers = ask("POST", "/score/bulk", json={"rows": rows}).json()["rows"]

    assert [answer["id"] for answer in answers] == ["0", "1", "2", "3", "4"]
    assert [answer["probability"] for answer in answers] == pytest.approx(
        [1 / (1 + math.exp(-2 * x)) for x in range(5)]
    )


def test_a_whole_number_is_a_number_and_null_is_not_known(ask: Ask) -> None:
    features = {**dict.fromkeys(ROW), "x": 1}

    assert ask("POST", "/score", json={"features": features}).json()["probability"] == pytest.approx(
        1 / (1 + math.exp(-1))
    )


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "third"}, {"X-API-Key": ""}, {"Authorization": "first"}])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/score"), ("POST", "/score/bulk"), ("GET", "/model"), ("GET", "/openapi.json")]
)
def test_without_a_known_key_nothing_is_answered(ask: Ask, method: str, path: str, headers: dict[str, str]) -> None:
    refused = ask(method, path, headers=headers, json={"features": ROW})

    assert refused.status_code == 401
    assert refused.json()["error"]["code"] in ("KEY_MISSING", "KEY_WRONG")


def test_either_key_is_let_in_so_that_one_can_be_changed(ask: Ask) -> None:
    assert ask("POST", "/score", headers={"x-api-key": "second"}, json={"features": ROW}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("", 400, "no JSON"),
        ("{", 400, "no JSON"),
        ('{"features": {"x": NaN}}', 400, "no JSON"),
        ('{"features": {"x": Infinity}}', 400, "no JSON"),
        ("[" * 500 + "]" * 500, 422, "valid dictionary"),
        ("[]", 422, "valid dictionary"),
        ("{}", 422, "features: field required"),
        ({"features": {}}, 422, "features.x: field required"),
        ({"features": {**ROW, "z": 1}}, 422, "features.z: extra inputs"),
        ({"features": ROW, "model": "../../etc/passwd"}, 422, "model: extra inputs"),
        ({"features": ROW, "alias": "models:/other@champion"}, 422, "alias: extra inputs"),
        ({"features": {**ROW, "x": "1.0"}}, 422, "features.x"),
        ({"features": {**ROW, "x": True}}, 422, "features.x"),
        ({"features": {**ROW, "x": [1]}}, 422, "features.x"),
        ('{"features": {"x": 1e999, "visits": 1, "is_new": true, "plan": "a"}}', 422, "features.x"),
        ({"features": {**ROW, "visits": 2.5}}, 422, "features.visits"),
        ({"features": {**ROW, "visits": 2**64}}, 422, "features.visits"),
        ({"features": {**ROW, "is_new": 1}}, 422, "features.is_new"),
        ({"features": {**ROW, "plan": 7}}, 422, "features.plan"),
        ({"id": 7, "features": ROW}, 422, "id: "),
        ({"id": "x" * 201, "features": ROW}, 422, "id: "),
        ({"features": {**ROW, "plan": "x" * 101}}, 422, "features.plan: string should have at most 100"),
        ({"features": {**ROW, "plan": "\ud800"}}, 422, "features.plan: "),
        ({"id": "\udc00", "features": ROW}, 422, "id: "),
        ({"features": {**ROW, "\ud800": 1}}, 422, "features: input should be a valid string"),
        ({"features": {**ROW, "n" * 500: 1}}, 422, f"features.{'n' * 80}: extra"),
    ],
)
def test_a_request_that_is_not_of_the_contract_is_refused(ask: Ask, body: Any, status: int, said: str) -> None:
    refused = ask("POST", "/score", content=body if isinstance(body, str) else json.dumps(body))

    assert refused.status_code == status
    assert said in refused.json()["error"]["message"]


@pytest.mark.parametrize("rows", [[], [{"features": ROW}] * 6, [{"features": ROW}, {"features": {}}], "rows"])
def test_a_bulk_request_is_answered_whole_or_not_at_all(ask: Ask, rows: Any) -> None:
    assert ask("POST", "/score/bulk", json={"rows": rows}).status_code == 422


def test_a_body_that_is_too_large_is_refused(ask: Ask) -> None:
    refused = ask("POST", "/score", json={"features": {**ROW, "plan": "x" * 3_000}})

    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "REQUEST_TOO_LARGE")


def test_a_refusal_repeats_none_of_the_values(ask: Ask) -> None:
    refused = ask("POST", "/score", json={"features": {**ROW, "x": "4111-1111"}})

    assert "4111" not in refused.text


@pytest.mark.parametrize("path", ["/../etc/passwd", "/score/..%2f..%2fmodel", "/models/other", "/docs", "//model"])
def test_a_path_that_is_no_endpoint_is_not_found(ask: Ask, path: str) -> None:
    assert ask("GET", path).status_code in (404, 405)


def test_health_and_figures_need_no_key_and_hold_no_id(ask: Ask) -> None:
    ask("POST", "/score", json={"id": "C1", "features": ROW})
    ask("POST", "/score", content="{")

    assert ask("GET", "/live", headers={}).json() == {"status": "live"}
    assert ask("GET", "/ready", headers={}).json() == {"status": "ready", "version": 1}
    figures = ask("GET", "/metrics", headers={}).text
    assert 'accelerators_online_requests_total{endpoint="score",status="200",vertical="example"} 1.0' in figures
    assert 'accelerators_online_requests_total{endpoint="score",status="400",vertical="example"} 1.0' in figures
    assert 'accelerators_online_model_info{name="example",version="1",vertical="example"} 1.0' in figures
    assert "C1" not in figures


def test_the_examples_of_the_description_can_be_sent(ask: Ask) -> None:
    paths = ask("GET", "/openapi.json").json()["paths"]

    for path in ("/score", "/score/bulk"):
        content = paths[path]["post"]["requestBody"]["content"]["application/json"]
        assert ask("POST", path, json=content["example"]).status_code == 200
    assert 'endpoint="score"' in ask("GET", "/metrics").text


def test_the_next_model_takes_over_without_a_restart(ask: Ask, service: Service, models: Models) -> None:
    before = ask("POST", "/score", json={"features": ROW}).json()
    models.version = 2

    assert asyncio.run(service.refresh())
    after = ask("POST", "/score", json={"features": ROW}).json()
    assert [each["model"]["version"] for each in (before, after)] == [1, 2]
    assert after["probability"] == pytest.approx(1 / (1 + math.exp(-4)))
    assert 'accelerators_online_model_info{name="example",version="1"' not in ask("GET", "/metrics").text


def test_a_model_that_was_trained_anew_under_the_same_number_takes_over(
    ask: Ask, service: Service, models: Models
) -> None:
    models.run_id, models.tail = "second", "1.0D"

    assert asyncio.run(service.refresh())
    answer = ask("POST", "/score", json={"features": ROW}).json()
    assert (answer["model"]["version"], answer["probability"]) == (1, pytest.approx(1 / (1 + math.exp(-3))))
    assert not asyncio.run(service.refresh())


def test_a_bad_model_never_takes_the_place_of_one_that_answers(ask: Ask, service: Service, models: Models) -> None:
    models.version, models.problem = 2, ModelError("MODEL_TAMPERED", "It was changed.")

    assert not asyncio.run(service.refresh())
    assert ask("POST", "/score", json={"features": ROW}).json()["model"]["version"] == 1
    assert 'accelerators_online_model_refused_total{vertical="example"} 1.0' in ask("GET", "/metrics").text


def test_without_a_first_model_there_is_no_service(models: Models) -> None:
    models.problem = ModelError("MODEL_MISSING", "None.")

    with pytest.raises(ModelError):
        Service(models, ServingConfig(), OnlineMetrics("example"))


def test_a_failure_inside_shows_no_trace(ask: Ask, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "current", None)

    failed = ask("POST", "/score", json={"features": ROW})
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "INTERNAL")
    assert "Traceback" not in failed.text


def small(**settings: Any) -> Service:
    return Service(Models(), ServingConfig(**settings), OnlineMetrics("example"))


def figure(service: Service, name: str, **labels: str) -> float | None:
    return service.metrics.registry.get_sample_value(name, {"vertical": "example", **labels})


def test_json_that_is_deeper_than_can_be_read_is_refused() -> None:
    deep = b'{"features": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    with pytest.raises(RequestRefused) as refusal:
        small().answer(deep, bulk=False)
    assert (refusal.value.status, refusal.value.code) == (400, "REQUEST_UNREADABLE")


def test_a_number_that_the_model_has_no_answer_to_is_not_counted_as_an_answer(
    ask: Ask, service: Service, models: Models
) -> None:
    models.version, models.tail = 2, "(`x` * 10.0D - `x` * 10.0D)"  # the difference of two infinities is no number
    assert asyncio.run(service.refresh())
    refused = ask("POST", "/score/bulk", json={"rows": [{"features": ROW}, {"features": {**ROW, "x": -1.7e308}}]})

    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "NOT_FINITE")
    assert "row 1" in refused.text
    assert figure(service, "accelerators_online_requests_total", endpoint="bulk", status="422") == 1
    assert figure(service, "accelerators_online_probability_count") == 0


@pytest.mark.parametrize(("rows", "in_loop"), [(1, True), (200, False)])
def test_a_long_body_is_read_and_answered_beside_the_loop(rows: int, in_loop: bool) -> None:
    service, threads = small(), []
    answer = service.answer

    def noting(body: bytes, *, bulk: bool) -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        return answer(body, bulk=bulk)

    service.answer = noting  # type: ignore[method-assign]
    body = json.dumps({"rows": [{"features": ROW}] * rows}).encode()

    assert asyncio.run(sent(service, [body])) == 200
    assert threads == [in_loop]


async def sent(service: Service, parts: list[bytes], *, then: str = "http.disconnect", wait: float = 0) -> int:
    """Send the parts of a body to `/score/bulk`, the last of them if nothing is to come ``then``; return the status."""
    statuses: list[int] = []
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if not wait and then == "http.disconnect" and parts:
        messages[-1]["more_body"] = False

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await asyncio.sleep(wait)
        return {"type": then}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": "POST", "path": "/score/bulk", "query_string": b"", "headers": []}
    await build(service, [])(scope, receive, send)  # type: ignore[arg-type]
    return statuses[0]


def test_a_client_that_hangs_up_is_no_failure_of_the_service() -> None:
    service = small()

    asyncio.run(sent(service, []))
    assert figure(service, "accelerators_online_requests_total", endpoint="bulk", status="499") == 1
    assert figure(service, "accelerators_online_requests_total", endpoint="bulk", status="500") is None


def test_a_body_that_does_not_arrive_in_time_is_refused() -> None:
    service = small(body_seconds=0.05)

    assert asyncio.run(sent(service, [b"{"], wait=60)) == 408


def test_a_request_is_checked_and_answered_by_one_model(service: Service, models: Models) -> None:
    read = service.current.requests.read_bulk

    def swapped(body: bytes) -> list[Asked]:
        asked = read(body)
        models.version = 2
        asyncio.run(service.refresh())
        return asked

    service.current.requests.read_bulk = swapped  # type: ignore[method-assign]
    body = json.dumps({"rows": [{"features": ROW}]}).encode()

    assert json.loads(service.answer(body, bulk=True))["rows"][0]["model"]["version"] == 1
    assert service.served.version.number == 2


def test_the_description_is_made_once_for_a_model(ask: Ask, service: Service, models: Models) -> None:
    def version() -> int:
        paths = ask("GET", "/openapi.json").json()["paths"]
        content = paths["/score"]["post"]["responses"]["200"]["content"]["application/json"]
        made.add(content["example"]["prediction_id"])
        return int(content["example"]["model"]["version"])

    made: set[str] = set()
    assert [version(), version()] == [1, 1]
    assert len(made) == 1
    models.version = 2
    asyncio.run(service.refresh())
    assert version() == 2


async def followed(service: Service, until: Callable[[], bool]) -> None:
    task = asyncio.create_task(service.follow())
    async with asyncio.timeout(60):
        while not until():
            await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("problem", [OSError("no space left"), RuntimeError("graph"), ModelError("MODEL_TAMPERED", "")])
def test_whatever_happens_the_registry_is_followed_on(problem: Exception) -> None:
    service = small(poll_seconds=0.01)
    source: Any = service._source
    source.version, source.problem = 2, problem

    def mended() -> bool:
        if (figure(service, "accelerators_online_model_refused_total") or 0) >= 2:
            source.problem = None
        return service.served.version.number == 2

    asyncio.run(followed(service, mended))


def test_a_version_that_was_refused_is_asked_for_ever_less_often_until_there_is_another(
    service: Service, models: Models
) -> None:
    async def refreshed(times: int) -> float | None:
        for _ in range(times):
            await service.refresh()
        return figure(service, "accelerators_online_model_refused_total")

    models.version, models.problem = 2, ModelError("MODEL_TAMPERED", "It was changed.")
    assert asyncio.run(refreshed(1 + 2 + 3 + 5)) == 4  # the first, and after 1, 2 and 4 that were left out
    models.version = 3
    assert asyncio.run(refreshed(1)) == 5
    models.run_id = "second"
    assert asyncio.run(refreshed(1)) == 6
    models.version, models.problem = 4, None
    asyncio.run(refreshed(1))
    assert service.served.version.number == 4


@pytest.mark.parametrize("setting", [{"port": 70_000}, {"tolerance": 0.5}, {"parity_rows": 1}])
def test_settings_refuse_what_cannot_be(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ServingConfig(**setting)
