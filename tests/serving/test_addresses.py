"""An id may hold any character, and one address means one thing."""

from typing import Annotated
from urllib.parse import quote

import pytest
from apis import Api
from fastapi import APIRouter, Depends, Request, Response

from recsys.serving.asking import Asking

IDS = [
    "plain",
    "with space",
    "a/b/c",
    "/lead",
    "trail/",
    "a/similar",
    "similar",
    "popular",
    "new",
    "50%",
    "%2F",
    "what?",
    "a#b",
    "a&b=c;d+e",
    "line\nbreak",
    "tab\tand\rreturn",
    "Zoë 東京 😀",
    "..",
    "a/../b",
    '"quoted" \\',
    "x" * 512,
    "界" * 512,
]


def encoded(key: str) -> str:
    return quote(key, safe="").replace("..", "%2E%2E")


def test_an_item_of_any_id_is_written_read_and_deleted(api: Api) -> None:
    for key in IDS:
        path = f"/v1/items/{encoded(key)}"
        assert api.client.put(path, json={"title": "by id"}).status_code == 201, key
        assert api.get("/v1/items", id=key)["items"][0]["id"] == key
        if key not in {"popular", "new"}:
            assert api.get(path)["id"] == key
        assert api.client.patch(path, json={"title": "changed"}).json()["title"] == "changed"
        similar = api.client.get(f"{path}/similar").json()
        assert "not yet in snapshot" in similar["error"]["message"], key
        assert api.client.delete(path).status_code == 204
        assert api.get("/v1/items", id=key) == {"items": [], "unknown": [key]}


def test_a_user_of_any_id_has_events_and_recommendations(api: Api) -> None:
    for key in IDS:
        event = {"user_id": key, "item_id": "space-4", "type": "purchase"}
        assert api.post("/v1/events", event)["added"] == 1
        path = f"/v1/users/{encoded(key)}"
        assert [e["user_id"] for e in api.get(f"{path}/events")["events"]] == [key]
        ids = api.ids(f"{path}/recommendations", limit=500)
        assert len(ids) == 59, key
        assert "space-4" not in ids


def test_a_slash_sent_as_itself_works_where_it_leaves_no_doubt(api: Api) -> None:
    assert api.client.put("/v1/items/a/b", json={}).status_code == 201
    assert api.get("/v1/items/a/b")["id"] == "a/b"
    assert api.get("/v1/items/a%2fb")["id"] == "a/b"
    assert api.client.get("/v1/items/a/b/similar").status_code == 404
    assert api.get("/v1/users/a/b/events") == {"events": []}


def test_an_encoded_slash_belongs_to_the_id_and_a_plain_one_to_the_address(api: Api) -> None:
    api.post("/v1/items", [{"id": "296/similar"}])
    assert api.get("/v1/items/296%2Fsimilar")["id"] == "296/similar"
    assert len(api.ids("/v1/items/296/similar")) == 10


def test_ids_that_cannot_be_are_refused(shared: Api) -> None:
    for path in ("/v1/items/%FF", "/v1/items/%00", "/v1/items/" + "x" * 513, "/v1/items/"):
        reply = shared.client.get(path)
        assert reply.status_code == 422
        assert reply.json()["error"]["fields"][0]["field"] == "item_id"


def test_a_route_that_reads_its_address_declares_nothing_that_it_would_not_hear() -> None:
    async def asks_more(request: Request, limit: int = 10) -> Response: ...
    async def depends(request: Request, who: Annotated[str, Depends(encoded)]) -> Response: ...

    router = APIRouter(route_class=Asking)
    for endpoint in (asks_more, depends):
        with pytest.raises(TypeError, match="/a: an endpoint of a GET"):
            router.get("/a")(endpoint)
