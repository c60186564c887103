"""Whatever goes wrong has one shape, says what to do, and is never a traceback."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest
from apis import Api, running, served_quickly
from sqlalchemy import text

from recsys.catalogue.database import connect, migrate, writing
from recsys.catalogue.items import Item, upsert_items
from recsys.config import Settings
from recsys.ranking.recommender import Recommender
from recsys.serving.schemas import ErrorReply

NOW = datetime(2026, 6, 1, tzinfo=UTC)
JSON = {"Content-Type": "application/json"}
POST = "/v1/recommendations"

WRONG = [
    # method, path, body, status, type, part of the message
    ("GET", "/", None, 404, "not_found", "/openapi.json"),
    ("GET", "/v1/nothing", None, 404, "not_found", "/v1/nothing"),
    ("GET", "/docs", None, 404, "not_found", "/docs"),
    ("GET", "/v1/items/none", None, 404, "unknown_item", "there is no item 'none'"),
    ("DELETE", "/v1/items/none", None, 404, "unknown_item", "there is no item 'none'"),
    ("PATCH", "/v1/items/none", {}, 404, "unknown_item", "there is no item 'none'"),
    ("GET", "/v1/items/none/similar", None, 404, "unknown_item", "there is no item 'none'"),
    ("POST", "/v1/items/296", None, 405, "method_not_allowed", "it takes DELETE, GET, PATCH, PUT"),
    ("POST", "/v1/users/1/recommendations", {}, 405, "method_not_allowed", "it takes GET"),
    ("PUT", "/v1/events", None, 405, "method_not_allowed", "it takes POST"),
    (
        "GET",
        "/v1/users/1/recommendations?limit=0",
        None,
        422,
        "invalid_request",
        "limit: should be",
    ),
    (
        "GET",
        "/v1/users/1/recommendations?limit=501",
        None,
        422,
        "invalid_request",
        "ranking.max_limit",
    ),
    (
        "GET",
        "/v1/users/1/recommendations?limit=ten",
        None,
        422,
        "invalid_request",
        "limit: should be",
    ),
    (
        "GET",
        "/v1/users/1/recommendations?limt=1",
        None,
        422,
        "invalid_request",
        "limt: is not known",
    ),
    ("GET", "/v1/users/1/recommendations?diversity=nan", None, 422, "invalid_request", "diversity"),
    ("GET", "/v1/users/1/recommendations?diversity=1.1", None, 422, "invalid_request", "diversity"),
    (
        "GET",
        "/v1/items/296/similar?by=magic",
        None,
        422,
        "invalid_request",
        "by: should be 'blend'",
    ),
    ("GET", "/v1/users/1/events?before=then", None, 422, "invalid_request", "before"),
    ("GET", "/v1/items", None, 422, "invalid_request", "id: is required"),
    ("POST", POST, None, 422, "invalid_request", "body: is required"),
    ("POST", POST, [], 422, "invalid_request", "body: should be a JSON object"),
    ("POST", POST, {"user": 1}, 422, "invalid_request", "user: is not known here"),
    ("POST", POST, {"user_id": 1}, 422, "invalid_request", "user_id: should be a valid string"),
    ("POST", POST, {"user_id": "a\0"}, 422, "invalid_request", "NUL"),
    ("POST", POST, {"limit": 501}, 422, "invalid_request", "ranking.max_limit"),
    ("POST", POST, {"where": {"colour": "red"}}, 422, "invalid_request", "where.colour"),
    (
        "POST",
        POST,
        {"where": {"price_min": 2, "price_max": 1}},
        422,
        "invalid_request",
        "above price_max",
    ),
    (
        "POST",
        POST,
        {"where": {"attributes": {"a": []}}},
        422,
        "invalid_request",
        "where.attributes.a",
    ),
    ("POST", POST, {"boosts": [{"by": 1}]}, 422, "invalid_request", "boosts[0].where: is required"),
    (
        "POST",
        POST,
        {"events": [{"item_id": "1", "type": "x"}]},
        422,
        "invalid_request",
        "events[0].type",
    ),
    (
        "POST",
        POST,
        {"events": [{"item_id": "1", "type": "rating"}]},
        422,
        "invalid_request",
        "events[0]: a rating needs a value",
    ),
    (
        "POST",
        "/v1/search",
        {"text": "x", "events": [{"item_id": "1", "type": "like", "time": "2900-01-01T00:00:00Z"}]},
        422,
        "invalid_request",
        "events[0].time: 2900-01-01T00:00:00+00:00 lies in the future",
    ),
    ("POST", "/v1/search", {"text": " \n"}, 422, "invalid_request", "nothing is searched for"),
    ("POST", "/v1/search", {}, 422, "invalid_request", "nothing is searched for"),
    ("POST", "/v1/search", {"picture": "%"}, 422, "invalid_request", "picture: is not base64"),
    ("POST", "/v1/search", {"text": "x", "crop": [0, 0, 1, 1]}, 422, "invalid_request", "crop is"),
    (
        "POST",
        "/v1/search",
        {"picture": "eA==", "crop": [0.5, 0, 0.6, 1]},
        422,
        "invalid_request",
        "crop: left, top, width and height are shares",
    ),
    ("POST", "/v1/search", {"items": [{"item_id": "no"}]}, 404, "unknown_item", "no item 'no'"),
    ("POST", "/v1/search", {"text": "x"}, 503, "search_unavailable", "embedding.text_model"),
    ("PUT", "/v1/items/x", {"prize": 1}, 422, "invalid_request", "prize: is not known here"),
    ("PUT", "/v1/items/x", {"id": "y"}, 422, "invalid_request", "id: is not known here"),
    ("PUT", "/v1/items/x", {"price": -1}, 422, "invalid_request", "price"),
    ("PATCH", "/v1/items/296", {"price": "dear"}, 422, "invalid_request", "price"),
    ("POST", "/v1/items", {"id": ""}, 422, "invalid_request", "[0].id"),
    ("POST", "/v1/items", "text", 422, "invalid_request", "body: should be a valid list"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "kind", "message"), WRONG)
def test_every_mistake_is_named(
    shared: Api, method: str, path: str, body: object, status: int, kind: str, message: str
) -> None:
    reply = shared.client.request(method, path, json=body)
    error = ErrorReply.model_validate_json(reply.content).error
    assert (reply.status_code, error.type) == (status, kind)
    assert message in error.message
    assert reply.headers["content-type"] == "application/json"
    if status == 405:
        assert reply.headers["allow"] in error.message


def raw(api: Api, content: bytes, headers: dict[str, str]) -> tuple[int, str]:
    reply = api.client.post("/v1/events", content=content, headers=headers)
    return reply.status_code, ErrorReply.model_validate_json(reply.content).error.message


def test_a_body_that_is_not_json_says_so(shared: Api) -> None:
    status, message = raw(shared, b'{"user_id": ', JSON)
    assert status == 422
    assert message.startswith("body: is not valid JSON at character 12")
    status, message = raw(shared, b'{"user_id": "1"}', {"Content-Type": "text/plain"})
    assert (status, "Content-Type: application/json (found 'text/plain')" in message) == (422, True)
    for broken in (b"\xff\xfe", b"[" * 100_000, b'{"value": ' + b"9" * 10_000 + b"}"):
        assert raw(shared, broken, JSON)[0] in {400, 422}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(shared: Api, value: str) -> None:
    event = f'{{"user_id": "1", "item_id": "1", "type": "view", "value": {value}}}'
    assert raw(shared, event.encode(), JSON)[0] == 422
    for body in (f'{{"price": {value}}}', f'{{"attributes": {{"a": {value}}}}}'):
        assert shared.client.put("/v1/items/x", content=body, headers=JSON).status_code == 422


def test_a_body_over_the_limit_is_refused(shared: Api) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(17):
            yield b" " * 2**20

    for content in (b" " * (2**24 + 1), chunks()):
        reply = shared.client.post("/v1/events", content=content, headers=JSON)
        error = ErrorReply.model_validate_json(reply.content).error
        assert (reply.status_code, error.type) == (413, "too_large")
        assert "16,777,216 bytes" in error.message
    just_right = json.dumps({"user_id": "1", "item_id": "1", "type": "no"}).encode().ljust(2**24)
    assert raw(shared, just_right, JSON)[0] == 422


def test_what_nobody_expected_has_an_id_that_is_in_the_log(
    shared: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret of the house")

    monkeypatch.setattr(Recommender, "answer", broken)
    reply = shared.client.get("/v1/items/popular")
    error = ErrorReply.model_validate_json(reply.content).error
    assert (reply.status_code, error.type) == (500, "internal")
    assert "secret" not in reply.text
    logged = next(record for record in caplog.records if error.id in record.getMessage())
    assert logged.exc_info is not None


def test_without_a_snapshot_the_catalogue_works_and_slates_say_what_is_missing(
    migrated_settings: Settings,
) -> None:
    with running(served_quickly(migrated_settings)) as client:
        assert client.get("/health/live").json() == {"status": "alive"}
        assert client.put("/v1/items/1", json={"title": "One"}).status_code == 201
        event = {"user_id": "1", "item_id": "1", "type": "view"}
        assert client.post("/v1/events", json=event).status_code == 200
        for path in (
            "/health/ready",
            "/v1/users/1/recommendations",
            "/v1/items/popular",
            "/v1/items/1/similar",
        ):
            reply = client.get(path)
            error = ErrorReply.model_validate_json(reply.content).error
            assert (reply.status_code, error.type) == (503, "no_snapshot")
            assert "run `recsys rebuild`" in error.message
            assert int(reply.headers["retry-after"]) > 0


def test_a_database_that_went_away_is_a_503_and_heals(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    rename(api, "events", "away")
    _is_unavailable(api)
    rename(api, "away", "events")
    assert len(api.ids("/v1/users/42/recommendations")) == 10
    assert "events" in caplog.text


def test_a_long_writer_elsewhere_makes_writes_fail_soon_and_reads_wait_for_nothing(
    settings: Settings,
) -> None:
    engine = connect(settings)
    migrate(engine)
    event = {"user_id": "u", "item_id": "1", "type": "view"}

    def post(client: httpx.Client) -> tuple[httpx.Response, float]:
        began = time.perf_counter()
        reply = client.post("/v1/events", json=event)
        return reply, time.perf_counter() - began

    with running(served_quickly(settings)) as client, ThreadPoolExecutor(45) as people:
        with writing(engine) as connection:
            upsert_items(connection, [Item(id="1")], NOW)
            posts = [people.submit(post, client) for _ in range(45)]
            time.sleep(0.5)
            began = time.perf_counter()
            assert client.get("/v1/users/u/events").json() == {"events": []}
            assert time.perf_counter() - began < 1
            replies = [done.result() for done in posts]
        assert {reply.status_code for reply, _ in replies} == {503}
        assert all(int(reply.headers["retry-after"]) > 0 for reply, _ in replies)
        kinds = [ErrorReply.model_validate_json(r.content).error.type for r, _ in replies]
        assert set(kinds) == {"database_unavailable", "busy"}
        # Eight wait at a time; who comes when the first eight have given up, on a busy machine, waits in their place.
        assert kinds.count("database_unavailable") in range(8, 17)
        assert max(seconds for _, seconds in replies) < 6
        burst = people.map(post, [client] * 45)
        assert {reply.status_code for reply, _ in burst} == {200}
    engine.dispose()


def rename(api: Api, old: str, new: str) -> None:
    with api.engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


def _is_unavailable(api: Api) -> None:
    reply = api.client.get("/v1/users/42/recommendations")
    error = ErrorReply.model_validate_json(reply.content).error
    assert (reply.status_code, error.type) == (503, "database_unavailable")
    assert int(reply.headers["retry-after"]) > 0
    assert "away" not in error.message
    assert "SELECT" not in reply.text
