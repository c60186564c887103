"""/openapi.json is complete, and every example in it works as it stands."""

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
import worlds
from apis import Api, alike, running

from recsys.catalogue.database import connect, migrate
from recsys.config import Settings
from recsys.embedding.text import load_text_encoder
from recsys.snapshot import Artefacts

ORDER = ("put", "post", "patch", "get", "delete")
EXAMPLE_ID = "296"


def operations(described: dict) -> list[tuple[str, str, dict]]:
    """(method, path, operation): what is written comes before what is read, deleting comes last."""
    found = [
        (m, path, o) for path, methods in described["paths"].items() for m, o in methods.items()
    ]
    return sorted(found, key=lambda operation: ORDER.index(operation[0]))


def address(path: str, operation: dict) -> tuple[str, dict[str, Any]]:
    query = {}
    for parameter in operation.get("parameters", []):
        examples = parameter.get("examples") or parameter["schema"].get("examples") or [None]
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(str(examples[0]), safe=""))
        elif examples[0] is not None:
            query[parameter["name"]] = examples[0]
    return path, query


def bodies(operation: dict) -> list[Any]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return [example["value"] for example in content.get("examples", {}).values()] or [None]


@pytest.fixture
def described(shared: Api) -> dict:
    return shared.get("/openapi.json")


def test_every_operation_is_described_and_has_an_example(described: dict) -> None:
    for method, path, operation in operations(described):
        name = f"{method} {path}"
        assert operation["summary"], name
        assert len(operation["description"]) > 20, name
        assert operation["tags"], name
        assert "requestBody" not in operation or bodies(operation) != [None], name
        for parameter in operation.get("parameters", []):
            known = parameter["schema"].get("examples") or parameter.get("examples")
            assert not parameter["required"] or known, name
    assert {tag["name"] for tag in described["tags"]} == {
        tag for _, _, operation in operations(described) for tag in operation["tags"]
    }


def test_all_that_is_referred_to_is_there(described: dict) -> None:
    schemas = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    referred = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(described)))
    assert referred <= schemas
    assert "#/components/schemas/SearchBody" in referred


def test_the_documented_addresses_are_those_that_were_promised(described: dict) -> None:
    found = {f"{method.upper()} {path}" for method, path, _ in operations(described)}
    assert found == {
        "GET /v1/users/{user_id}/recommendations",
        "POST /v1/recommendations",
        "POST /v1/search",
        "POST /v1/placements",
        "GET /v1/items/popular",
        "GET /v1/items/trending",
        "GET /v1/items/new",
        "GET /v1/items/{item_id}/similar",
        "GET /v1/items",
        "POST /v1/items",
        "GET /v1/items/{item_id}",
        "PUT /v1/items/{item_id}",
        "PATCH /v1/items/{item_id}",
        "DELETE /v1/items/{item_id}",
        "POST /v1/events",
        "GET /v1/users/{user_id}/events",
        "GET /v1/rules",
        "POST /v1/rules",
        "POST /v1/rules/preview",
        "GET /v1/rules/{rule_id}",
        "PUT /v1/rules/{rule_id}",
        "DELETE /v1/rules/{rule_id}",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
    }


def test_every_example_works_and_search_finds_what_the_words_mean(
    settings: Settings,
) -> None:
    encoder = load_text_encoder(settings.embedding)
    assert encoder is not None
    engine = connect(settings)
    migrate(engine)
    worlds.fill(engine)
    texts = (encoder.encode, encoder.card)
    worlds.publish(settings.home, worlds.build(engine, settings, texts))
    engine.dispose()
    with running(settings) as client:
        kept = client.post("/v1/rules", json={"name": "x", "action": "exclude", "items": ["x"]})
        assert kept.json()["id"] == 1, "the one that examples speak of"
        for method, path, operation in operations(client.get("/openapi.json").json()):
            where, query = address(path, operation)
            for body in bodies(operation):
                reply = client.request(method, where, params=query, json=body)
                assert 200 <= reply.status_code < 300, f"{method} {where}: {reply.text}"
        for words, genre in (("cops chasing thieves", "crime"), ("travel to the stars", "space")):
            reply = client.post("/v1/search", json={"text": words, "limit": 5}).json()
            assert {item["item_id"].split("-")[0] for item in reply["items"]} <= {
                genre,
                "50",
                "318",
            }
            assert reply["items"][0]["reason"] == "matches your search"
        plain = client.post("/v1/search", json={"text": "a story", "limit": 20}).json()
        mine = {"text": "a story", "limit": 20, "events": [{"item_id": "space-3", "type": "like"}]}
        adapted = client.post("/v1/search", json=mine).json()
        assert _space(adapted) > _space(plain)
        first = client.post("/v1/search", json={"text": "a story", "limit": 8}).json()
        on = {"text": "a story", "limit": 12, "cursor": first["next"]}
        second = client.post("/v1/search", json=on).json()
        assert alike(first["items"] + second["items"], plain["items"])
        other = client.post("/v1/search", json=on | {"text": "another story"})
        assert other.status_code == 422


def _space(slate: dict) -> int:
    return sum(item["item_id"].startswith("space") for item in slate["items"][:8])


def test_search_where_the_snapshots_encoder_is_not_to_be_had_names_the_setting(
    settings: Settings, artefacts: Artefacts
) -> None:
    engine = connect(settings)
    migrate(engine)
    engine.dispose()
    worlds.publish(settings.home, artefacts)
    with running(settings) as client:
        reply = client.post("/v1/search", json={"text": "x"})
    assert reply.status_code == 503
    message = reply.json()["error"]["message"]
    assert "words-by-their-checksum" in message
    assert "embedding.text_model = 'offline'" in message
    assert "recsys rebuild" in message
