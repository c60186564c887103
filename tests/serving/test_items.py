"""The catalogue over HTTP, on both databases: what is written is read, and withdrawn items are gone at once."""

from datetime import UTC, datetime, timedelta

import pytest
import worlds
from apis import Api, until

from recsys.catalogue.database import writing
from recsys.catalogue.items import delete_item, patch_item

FULL = {
    "title": "Heat (1995)",
    "description": "A thief and a detective.",
    "categories": ["Crime"],
    "brand": "Studio 1",
    "price": 9.99,
    "currency": "EUR",
    "images": ["heat.jpg"],
    "attributes": {"year": 1995, "cast": ["A", "B"]},
    "available": True,
    "published_at": "1995-12-15T00:00:00Z",
    "expires_at": None,
}


def slate(api: Api) -> list[str]:
    return api.ids("/v1/users/42/recommendations", limit=500, hide_seen=False)


def test_an_item_written_is_read_changed_and_deleted(api: Api) -> None:
    path = "/v1/items/heat"
    assert api.client.put(path, json=FULL).status_code == 201
    assert api.client.put(path, json=FULL | {"price": 5}).status_code == 200
    assert api.get(path) == FULL | {"id": "heat", "price": 5.0}
    changed = api.client.patch(
        path, json={"price": None, "attributes": {"year": None, "oscars": 0}}
    )
    assert changed.json() == FULL | {
        "id": "heat",
        "price": None,
        "attributes": {"cast": ["A", "B"], "oscars": 0},
    }
    assert api.get(path) == changed.json()
    assert api.client.delete(path).status_code == 204
    assert api.client.get(path).status_code == 404
    assert api.client.delete(path).status_code == 404
    assert api.client.patch(path, json={"price": 1}).status_code == 404
    assert api.client.put(path, json=FULL).status_code == 201


def test_bulk_writes_are_counted_and_read_back_together(api: Api) -> None:
    items = [{"id": f"bulk-{n}", "title": f"Bulk {n}"} for n in range(10_000)]
    assert api.post("/v1/items", items) == {"added": 10_000, "updated": 0, "unchanged": 0}
    items[0]["title"] = "Another"
    assert api.post("/v1/items", items[:5]) == {"added": 0, "updated": 1, "unchanged": 4}
    assert api.post("/v1/items", items[6]) == {"added": 0, "updated": 0, "unchanged": 1}
    found = api.get("/v1/items", id=["bulk-9", "missing", "bulk-0"])
    assert [item["title"] for item in found["items"]] == ["Bulk 9", "Another"]
    assert found["unknown"] == ["missing"]


def test_a_bulk_write_with_one_bad_item_writes_nothing(api: Api) -> None:
    reply = api.client.post("/v1/items", json=[{"id": "good"}, {"id": "bad", "price": -1}])
    assert reply.status_code == 422
    assert reply.json()["error"]["fields"][0]["field"] == "[1].price"
    assert api.client.get("/v1/items/good").status_code == 404


def test_a_deleted_item_is_gone_from_the_very_next_slate(api: Api) -> None:
    for key in slate(api)[:5]:
        assert api.client.delete(f"/v1/items/{key}").status_code == 204
        assert key not in slate(api)


@pytest.mark.parametrize("how", ["patch", "put", "bulk"])
def test_an_unavailable_item_is_gone_at_once_and_comes_back(api: Api, how: str) -> None:
    def write(available: bool) -> None:
        body = {"title": "x", "available": available}
        if how == "bulk":
            api.post("/v1/items", [body | {"id": "296"}])
        else:
            assert api.client.request(how, "/v1/items/296", json=body).status_code == 200

    for _ in range(3):
        write(available=False)
        assert "296" not in slate(api)
        write(available=True)
        assert "296" in slate(api)


@pytest.mark.parametrize("how", ["patch", "put", "bulk"])
def test_an_item_run_out_or_not_yet_published_is_gone_at_once_and_comes_back(
    api: Api, how: str
) -> None:
    def write(**dates: datetime) -> None:
        body = {name: date.isoformat() for name, date in dates.items()}
        if how == "bulk":
            api.post("/v1/items", [body | {"id": "296"}])
        else:
            assert api.client.request(how, "/v1/items/296", json=body).status_code == 200

    past, future = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))
    for gone, back in (
        ({"expires_at": past}, {"expires_at": future}),
        ({"published_at": future}, {"published_at": past}),
    ):
        write(**gone)
        assert "296" not in slate(api)
        write(**back)
        assert "296" in slate(api)


def test_available_cannot_be_taken_away(api: Api) -> None:
    reply = api.client.patch("/v1/items/hidden", json={"available": None})
    assert reply.status_code == 422
    assert reply.json()["error"]["message"] == "available: should be a valid boolean (found None)"
    assert api.get("/v1/items/hidden")["available"] is False


def test_an_item_the_snapshot_did_not_offer_waits_for_the_next_rebuild(api: Api) -> None:
    assert api.client.patch("/v1/items/hidden", json={"available": True}).status_code == 200
    assert "hidden" not in slate(api)


def test_what_another_process_withdraws_is_gone_soon_and_comes_back(api: Api) -> None:
    with writing(api.engine) as connection:
        assert delete_item(connection, "296", datetime.now(UTC))
        patch_item(connection, "50", {"available": False}, datetime.now(UTC))
        patch_item(connection, "318", {"expires_at": datetime.now(UTC)}, datetime.now(UTC))
    until(lambda: not {"296", "50", "318"} & set(slate(api)))
    with writing(api.engine) as connection:
        patch_item(connection, "50", {"available": True}, datetime.now(UTC))
        patch_item(connection, "318", {"expires_at": None}, datetime.now(UTC))
    until(lambda: {"50", "318"} <= set(slate(api)))
    assert "296" not in slate(api)


def test_what_was_withdrawn_before_the_server_started_is_not_shown(api: Api) -> None:
    with writing(api.engine) as connection:
        delete_item(connection, "296", datetime.now(UTC))
    newer = worlds.publish(api.settings.home, api.artefacts, built_at=worlds.BUILT_AT)
    until(lambda: api.get("/health/ready")["snapshot"] == newer)
    assert "296" not in slate(api)


def test_what_runs_out_after_the_build_is_gone_once_its_time_has_come(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.serving.live.THOROUGH", timedelta(0))
    monkeypatch.setattr("recsys.serving.live.OVERLAP", timedelta(0))
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    assert api.client.patch("/v1/items/296", json={"expires_at": soon}).status_code == 200
    assert "296" in slate(api)
    until(lambda: "296" not in slate(api))


def test_similar_to_a_deleted_item_is_unknown_but_one_sold_out_may_be_asked_about(api: Api) -> None:
    assert api.client.delete("/v1/items/296").status_code == 204
    assert api.client.patch("/v1/items/50", json={"available": False}).status_code == 200
    deleted = api.client.get("/v1/items/296/similar")
    assert deleted.status_code == 404
    assert deleted.json() == api.client.get("/v1/items/296").json()
    assert len(api.ids("/v1/items/50/similar")) == 10


def test_similar_to_an_item_newer_than_the_snapshot_says_so(api: Api) -> None:
    api.post("/v1/items", {"id": "fresh"})
    reply = api.client.get("/v1/items/fresh/similar")
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert error["type"] == "unknown_item"
    assert "not yet in snapshot" in error["message"]
    assert api.snapshot in error["message"]
    never = api.client.get("/v1/items/never/similar").json()["error"]["message"]
    assert never == "there is no item 'never': check the id, or add the item first"
