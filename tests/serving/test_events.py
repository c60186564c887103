"""Events over HTTP, on both databases: all or nothing, counted once, and felt in the next request."""

from datetime import UTC, datetime, timedelta

from apis import Api

PATH = "/v1/events"


def test_an_event_counts_in_the_very_next_request(api: Api) -> None:
    assert not any(
        key.startswith("space") for key in api.ids("/v1/users/42/recommendations", limit=5)
    )
    for n in range(1, 6):
        event = {"user_id": "new one", "item_id": f"space-{n}", "type": "purchase"}
        assert api.post(PATH, event) == {"added": 1, "duplicates": 0}
        ids = api.ids("/v1/users/new%20one/recommendations", limit=5)
        assert f"space-{n}" not in ids
    assert all(key.startswith("space") for key in ids)


def test_events_of_a_session_count_for_the_session_and_for_its_user(api: Api) -> None:
    likes = [{"session_id": "s-1", "item_id": f"family-{n}", "type": "like"} for n in range(5)]
    assert api.post(PATH, likes) == {"added": 5, "duplicates": 0}
    by_session = api.post("/v1/recommendations", {"session_id": "s-1", "limit": 5})["items"]
    assert all(item["item_id"].startswith("family") for item in by_session)
    both = api.ids("/v1/users/42/recommendations", session_id="s-1", limit=20)
    assert any(key.startswith("family") for key in both[:10])
    assert not {f"family-{n}" for n in range(5)} & set(both)


def test_the_same_event_sent_twice_counts_once(api: Api) -> None:
    events = [
        {"event_id": "e1", "user_id": "7", "item_id": "296", "type": "view"},
        {"user_id": "7", "item_id": "296", "type": "view", "time": "2026-01-01T10:00:00Z"},
        {"user_id": "7", "item_id": "296", "type": "view", "time": "2026-01-01T11:00:00+01:00"},
    ]
    assert api.post(PATH, events) == {"added": 2, "duplicates": 1}
    assert api.post(PATH, events) == {"added": 0, "duplicates": 3}


def test_ten_thousand_events_in_one_call(api: Api) -> None:
    events = [
        {"event_id": str(n), "user_id": "u", "item_id": str(n), "type": "view"}
        for n in range(10_000)
    ]
    assert api.post(PATH, events) == {"added": 10_000, "duplicates": 0}
    assert api.client.post(PATH, json=[*events, events[0]]).status_code == 422


def test_a_users_events_are_listed_newest_first_page_by_page(api: Api) -> None:
    made = [
        {
            "event_id": f"e{n}",
            "user_id": "u",
            "item_id": "not in the catalogue",
            "type": "rating",
            "value": n / 2,
            "time": f"2026-01-0{n}T00:00:00Z",
            "context": {"placement": "home", "position": n},
        }
        for n in range(1, 6)
    ]
    assert api.post(PATH, made)["added"] == 5
    first = api.get("/v1/users/u/events", limit=3)["events"]
    rest = api.get("/v1/users/u/events", before=first[-1]["time"])["events"]
    assert [event["event_id"] for event in [*first, *rest]] == ["e5", "e4", "e3", "e2", "e1"]
    assert first[0] == made[-1] | {"session_id": None}


def test_one_bad_event_is_named_and_nothing_is_stored(api: Api) -> None:
    good = {"user_id": "u", "item_id": "296", "type": "view"}
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    bad = {
        "[1].type": good | {"type": "vew"},
        "[1].time": good | {"time": later},
        "[1].item_id": {"user_id": "u", "type": "view"},
        "[1]": {"item_id": "296", "type": "view"},
        "[1].value": good | {"value": "much"},
        "[1].context.page": good | {"context": {"page": 1}},
    }
    for field, event in bad.items():
        reply = api.client.post(PATH, json=[good, event, good])
        assert reply.status_code == 422
        assert [found["field"] for found in reply.json()["error"]["fields"]] == [field]
    assert api.get("/v1/users/u/events") == {"events": []}
    assert "did you mean view?" in api.client.post(PATH, json=bad["[1].type"]).text


def test_a_time_without_a_zone_is_refused_and_clocks_may_run_ahead(api: Api) -> None:
    event = {"user_id": "u", "item_id": "296", "type": "view"}
    naive = api.client.post(PATH, json=event | {"time": "2026-01-01T00:00:00"})
    assert naive.status_code == 422
    assert "time zone" in naive.json()["error"]["message"]
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert api.post(PATH, event | {"time": soon})["added"] == 1
