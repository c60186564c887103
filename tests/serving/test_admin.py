"""Merchandisers keep rules over HTTP, see beforehand what one would change, and nobody else can."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import worlds
from apis import Api, running, until
from pydantic import SecretStr
from sqlalchemy import Engine

from recsys.config import Settings
from recsys.serving.app import create_app
from recsys.serving.schemas import ErrorReply, PreviewReply, RuleList, RuleReply

RULES = "/v1/rules"
GONE = {"name": "Recall", "action": "exclude", "items": ["296", "no such item"]}
LIFTED = {"name": "Space", "action": "boost", "by": 30, "where": {"categories": ["Space"]}}
TOP = {"name": "Top", "action": "pin", "items": ["family-9"], "place": 3}


def kept(api: Api, rule: dict) -> dict:
    reply = api.client.post(RULES, json=rule)
    assert reply.status_code == 201, reply.text
    return read(RuleReply, reply.json())


def read(model: type, body: dict) -> dict:
    """A body that is what its schema says."""
    model.model_validate_json(httpx.Response(200, json=body).content)
    return body


def test_a_rule_is_kept_read_changed_and_forgotten(api: Api) -> None:
    assert api.get(RULES) == {"rules": []}
    rule = kept(api, GONE)
    assert rule.items() >= (GONE | {"where": None, "by": None, "placements": []}).items()
    assert (rule["state"], rule["matches"], rule["unknown"]) == ("in force", 1, ["no such item"])
    other = kept(api, LIFTED)
    assert (other["matches"], other["where"]) == (20, LIFTED["where"])
    assert other["id"] > rule["id"]
    assert read(RuleList, api.get(RULES)) == {"rules": [rule, other]}
    changed = api.client.put(f"{RULES}/{rule['id']}", json=TOP)
    assert changed.status_code == 200
    said = read(RuleReply, changed.json())
    assert said.items() >= (TOP | {"id": rule["id"], "created_at": rule["created_at"]}).items()
    assert said["updated_at"] > rule["updated_at"]
    assert api.get(f"{RULES}/{rule['id']}") == said
    assert api.client.delete(f"{RULES}/{rule['id']}").status_code == 204
    assert api.get(RULES) == {"rules": [other]}


def test_the_very_next_slate_knows(api: Api) -> None:
    number = kept(api, TOP)["id"]
    assert api.ids("/v1/items/popular")[2] == "family-9"
    api.client.put(f"{RULES}/{number}", json=TOP | {"items": ["space-9"], "place": 1})
    assert api.ids("/v1/items/popular")[0] == "space-9"
    api.client.delete(f"{RULES}/{number}")
    assert api.ids("/v1/items/popular")[0] != "space-9"


def test_the_list_tells_what_is_in_force_what_will_be_and_what_was(api: Api) -> None:
    now = datetime.now(UTC)
    for dates in ({"ends_at": now}, {}, {"starts_at": now + timedelta(hours=1)}):
        kept(api, TOP | {name: moment.isoformat() for name, moment in dates.items()})
    states = [rule["state"] for rule in api.get(RULES)["rules"]]
    assert states == ["ended", "in force", "scheduled"]


def test_rules_are_kept_where_there_is_no_snapshot_yet(migrated_settings: Settings) -> None:
    with running(migrated_settings) as client:
        reply = client.post(RULES, json=GONE)
        assert reply.status_code == 201, reply.text
        assert (reply.json()["matches"], len(reply.json()["unknown"])) == (None, 2)
        tried = client.post(f"{RULES}/preview", json={"rule": GONE})
        assert tried.status_code == 503
        assert ErrorReply.model_validate_json(tried.content).error.type == "no_snapshot"


WRONG = [
    ("GET", "/7", None, 404, "unknown_rule", "there is no rule 7"),
    ("DELETE", "/7", None, 404, "unknown_rule", "there is no rule 7"),
    ("PUT", "/7", TOP, 404, "unknown_rule", "there is no rule 7"),
    ("POST", "/preview", {"rule": TOP, "in_place_of": 7}, 404, "unknown_rule", "no rule 7"),
    ("GET", "/first", None, 422, "invalid_request", "rule_id: should be a valid integer"),
    ("GET", f"/{2**63}", None, 422, "invalid_request", "rule_id"),
    ("PATCH", "/7", {}, 405, "method_not_allowed", "it takes DELETE, GET, PUT"),
    ("POST", "", {}, 422, "invalid_request", "name: is required"),
    ("POST", "", LIFTED | {"by": None}, 422, "invalid_request", "by: a boost needs it"),
    ("POST", "", TOP | {"until": 1}, 422, "invalid_request", "until: is not known here"),
    ("POST", "", GONE | {"where": {}}, 422, "invalid_request", "holds for every item"),
    ("POST", "/preview", {}, 422, "invalid_request", "rule: is required"),
    ("POST", "/preview", {"rule": TOP | {"place": 0}}, 422, "invalid_request", "rule.place"),
    (
        "POST",
        "/preview",
        {"rule": TOP, "item_id": "296", "kind": "new"},
        422,
        "invalid_request",
        "item_id and kind are different slates",
    ),
    ("POST", "/preview", {"rule": TOP, "limit": 501}, 422, "invalid_request", "max_limit"),
    ("POST", "/preview", {"rule": TOP, "item_id": "no"}, 404, "unknown_item", "no item 'no'"),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind", "message"), WRONG, ids=lambda v: str(v)[:40]
)
def test_what_goes_wrong_is_explained(
    shared: Api, method: str, path: str, body: object, status: int, kind: str, message: str
) -> None:
    reply = shared.client.request(method, RULES + path, json=body)
    error = ErrorReply.model_validate_json(reply.content).error
    assert (reply.status_code, error.type) == (status, kind)
    assert message in error.message


def preview(api: Api, rule: dict, **said: object) -> dict:
    found = read(PreviewReply, api.post(f"{RULES}/preview", {"rule": rule} | said))
    was, now = (
        {item["item_id"]: item["rank"] for item in found[side]["items"]}
        for side in ("without", "with")
    )
    assert set(found["came"]) == now.keys() - was.keys()
    assert set(found["went"]) == was.keys() - now.keys()
    both = {(key, was[key], now[key]) for key in was.keys() & now.keys() if was[key] != now[key]}
    assert {(move["item_id"], move["from"], move["to"]) for move in found["moved"]} == both
    return found


def shown(slate: dict) -> list[str]:
    return [item["item_id"] for item in slate["items"]]


def test_a_preview_shows_a_slate_with_and_without_the_rule_and_keeps_nothing(shared: Api) -> None:
    plain = shared.ids("/v1/users/42/recommendations", limit=6)
    found = preview(shared, TOP, user_id="42", limit=6)
    assert shown(found["without"]) == plain
    assert shown(found["with"]) == [*plain[:2], "family-9", *plain[2:5]]
    assert (found["came"], found["went"]) == (["family-9"], plain[5:])
    assert found["placement"] == "recommendations"
    assert shared.get(RULES) == {"rules": []}
    assert shared.ids("/v1/users/42/recommendations", limit=6) == plain


ASKED = [
    ({"user_id": "42"}, "recommendations", "/v1/users/42/recommendations"),
    ({}, "recommendations", "/v1/users/nobody/recommendations"),
    ({"item_id": "space-3"}, "similar", "/v1/items/space-3/similar"),
    ({"item_id": "space-3", "user_id": "1"}, "similar", "/v1/items/space-3/similar?user_id=1"),
    ({"kind": "popular"}, "popular", "/v1/items/popular"),
    ({"kind": "new"}, "new", "/v1/items/new"),
]


@pytest.mark.parametrize(("said", "placement", "path"), ASKED)
def test_it_is_tried_on_a_user_an_item_a_list_or_nobody(
    shared: Api, said: dict, placement: str, path: str
) -> None:
    found = preview(shared, LIFTED, **said)
    assert (found["placement"], found["applies"], found["matches"]) == (placement, True, 20)
    assert shown(found["without"]) == shown(shared.client.get(path).json())
    assert all(key.startswith("space") for key in shown(found["with"]))
    assert {item["parts"]["rules"] for item in found["with"]["items"]} == {30}
    elsewhere = preview(shared, LIFTED | {"placements": ["trending"]}, **said)
    assert not elsewhere["applies"]
    assert elsewhere["with"]["items"] == elsewhere["without"]["items"]


def test_a_rule_of_another_time_is_previewed_as_if_it_were_in_force(shared: Api) -> None:
    dates = {"starts_at": "2090-01-01T00:00:00Z", "ends_at": "2091-01-01T00:00:00Z"}
    assert "family-9" in shown(preview(shared, TOP | dates)["with"])


def test_a_preview_knows_the_other_rules_and_leaves_out_the_one_that_is_replaced(api: Api) -> None:
    kept(api, GONE | {"items": ["family-9"]})
    old = kept(api, TOP | {"items": ["space-9"], "place": 1})
    new = TOP | {"items": ["space-4"], "place": 1}
    beside = preview(api, new)
    assert shown(beside["without"])[0] == "space-9"
    assert shown(beside["with"])[:2] == ["space-9", "space-4"], "the older rule wins"
    instead = preview(api, new, in_place_of=old["id"])
    assert "space-9" not in shown(instead["without"])[:1]
    assert shown(instead["with"])[0] == "space-4"
    assert preview(api, TOP)["came"] == [], "what is excluded is not pinned"
    unknown = preview(api, GONE)
    assert unknown["unknown"] == ["no such item"]
    assert unknown["with"]["account"]["removed"]["rules"] >= 1


KEY = "a key, not guessed: ü"


@pytest.fixture
def locked(migrated_settings: Settings, engine: Engine) -> Iterator[httpx.Client]:
    del engine
    with running(keyed(migrated_settings, KEY)) as client:
        yield client


def keyed(settings: Settings, key: str) -> Settings:
    serving = settings.serving.model_copy(update={"admin_key": SecretStr(key)})
    return settings.model_copy(update={"serving": serving})


EVERY = [
    ("GET", RULES),
    ("POST", RULES),
    ("POST", f"{RULES}/preview"),
    ("GET", f"{RULES}/1"),
    ("PUT", f"{RULES}/1"),
    ("DELETE", f"{RULES}/1"),
]

NOT_THE_KEY = [
    None,
    "",
    "Bearer",
    f"Basic {KEY}",
    KEY,
    f"Bearer {KEY}!",
    "Bearer a key,",
]


def test_where_a_key_is_set_nobody_passes_without_it(locked: httpx.Client) -> None:
    for method, path in EVERY:
        for sent in NOT_THE_KEY:
            headers = {} if sent is None else {"Authorization": sent.encode()}
            reply = locked.request(method, path, headers=headers)
            error = ErrorReply.model_validate_json(reply.content).error
            assert (reply.status_code, error.type) == (401, "unauthorized"), (method, path, sent)
            assert "serving.admin_key, as `Authorization: Bearer KEY`" in error.message
            assert reply.headers["www-authenticate"] == "Bearer"
            assert KEY not in reply.text
    assert locked.get("/v1/items?id=1").status_code == 200, "the rest is open to all"


def test_who_has_the_key_passes(locked: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {KEY}".encode()}
    assert locked.post(RULES, json=TOP, headers=headers).status_code == 201
    assert len(locked.get(RULES, headers=headers).json()["rules"]) == 1
    assert locked.delete(f"{RULES}/1", headers=headers).status_code == 204


def asked_from(settings: Settings, address: str, headers: dict[str, str]) -> httpx.Response:
    """What somebody at this address is answered; the app is asked without a socket in between."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app, client=(address, 50_000))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(RULES, headers=headers)

    try:
        return asyncio.run(ask())
    finally:
        app.state.services.engine.dispose()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_without_a_key_the_servers_own_machine_may_ask(
    migrated_settings: Settings, address: str
) -> None:
    assert asked_from(migrated_settings, address, {}).status_code == 200


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("192.0.2.1", {}),
        ("2001:db8::1", {}),
        ("::ffff:192.0.2.1", {}),
        ("unix", {}),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}),
        ("127.0.0.1", {"X-Forwarded-Proto": "https"}),
        ("127.0.0.1", {"X-Forwarded-Host": "localhost"}),
        ("127.0.0.1", {"Forwarded": "for=192.0.2.1"}),
        ("127.0.0.1", {"Host": "rebound.example"}),
        ("192.0.2.1", {"Authorization": "Bearer "}),
    ],
)
def test_without_a_key_all_others_are_told_which_setting_to_set(
    migrated_settings: Settings, address: str, headers: dict[str, str]
) -> None:
    reply = asked_from(migrated_settings, address, headers)
    error = ErrorReply.model_validate_json(reply.content).error
    assert (reply.status_code, error.type) == (403, "forbidden")
    assert "serving.admin_key is not set" in error.message


def test_openapi_json_says_where_the_key_is_asked_for(shared: Api) -> None:
    described = shared.get("/openapi.json")
    assert described["components"]["securitySchemes"]["admin_key"]["scheme"] == "bearer"
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert ("security" in operation) == path.startswith(RULES), path


def test_a_snapshot_without_the_pinned_item_is_no_harm(api: Api) -> None:
    """It comes with the next one."""
    api.post("/v1/items", {"id": "later", "title": "Robot planet", "categories": ["Space"]})
    rule = kept(api, TOP | {"items": ["later"]})
    assert (rule["matches"], rule["unknown"]) == (0, [])
    assert len(api.ids("/v1/items/popular")) == 10
    newer = worlds.publish(api.settings.home, worlds.build(api.engine, api.settings))
    until(lambda: api.get("/health/ready")["snapshot"] == newer)
    assert api.ids("/v1/items/popular")[2] == "later"
    assert api.get(f"{RULES}/{rule['id']}")["matches"] == 1
