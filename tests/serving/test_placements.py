"""Several placements in one call: each as if asked alone, without what those before it show."""

import re

import pytest
from apis import Api, alike

from recsys.catalogue.histories import Histories
from recsys.serving.schemas import MOST_PLACEMENTS, ErrorReply

PATH = "/v1/placements"
LIKES = [{"item_id": "space-1", "type": "like"}, {"item_id": "space-2", "type": "view"}]

PAGE = [
    {"name": "for you", "kind": "recommendations", "limit": 4, "diversity": 0.5},
    {"name": "goes with", "kind": "recommendations", "context_items": ["296", "no"], "limit": 6},
    {"name": "similar", "kind": "similar", "item_id": "296", "limit": 5},
    {"name": "reads alike", "kind": "similar", "item_id": "296", "by": "text", "limit": 3},
    {"name": "popular", "kind": "popular"},
    {"name": "trending", "kind": "trending", "exclude": ["space-9"], "explain": True},
    {
        "name": "new",
        "kind": "new",
        "limit": 2,
        "where": {"brands": ["Studio 1", "Studio 2"]},
        "at_most": {"brand": 1},
        "boosts": [{"where": {"categories": ["Family"]}, "by": 50}],
    },
]


def filled(api: Api, placements: list[dict], **said: object) -> list[dict]:
    reply = api.post(PATH, said | {"placements": placements})
    assert reply["snapshot"] == api.snapshot
    return reply["placements"]


def ids(placement: dict) -> list[str]:
    return [place["item_id"] for place in placement["items"]]


def refused(api: Api, body: object) -> str:
    reply = api.client.post(PATH, json=body)
    assert reply.status_code == 422, reply.text
    return ErrorReply.model_validate_json(reply.content).error.message


def test_no_item_is_in_two_placements_and_each_is_full(shared: Api) -> None:
    found = filled(shared, PAGE, user_id="42", events=LIKES)
    assert [one["name"] for one in found] == [one["name"] for one in PAGE]
    assert [len(one["items"]) for one in found] == [one.get("limit", 10) for one in PAGE]
    shown = [key for one in found for key in ids(one)]
    assert len(shown) == len(set(shown))
    assert len({one["recommendation_id"] for one in found}) == len(PAGE)
    assert all(one["items"][0]["rank"] == 1 for one in found)
    assert [one.get("unknown") for one in found[:3]] == [[], ["no"], None]
    assert [("account" in one, "parts" in one["items"][0]) for one in found[4:6]] == [
        (False, False),
        (True, True),
    ]
    assert {place["reason"] for place in found[5]["items"]} == {"trending right now"}
    assert all(key.startswith("family") for key in ids(found[6]))


def test_each_placement_is_what_its_own_route_gives_without_what_earlier_ones_show(
    shared: Api,
) -> None:
    plain = [one for one in PAGE if one["name"] != "new"]
    before: list[str] = []
    for one in filled(shared, plain, user_id="42", session_id="s"):
        asked = next(placement for placement in plain if placement["name"] == one["name"])
        said = {k: v for k, v in asked.items() if k not in {"name", "kind", "item_id"}}
        said["exclude"] = [*said.get("exclude", []), *before]
        who = {"user_id": "42", "session_id": "s"}
        match asked["kind"]:
            case "recommendations":
                alone = shared.post("/v1/recommendations", said | who)
            case "similar":
                alone = shared.get(f"/v1/items/{asked['item_id']}/similar", **said, **who)
            case kind:
                alone = shared.get(f"/v1/items/{kind}", **said)
        assert alike(one["items"], alone["items"])
        assert alike(one.get("account"), alone.get("account"))
        before += ids(one)


def test_the_first_placement_chooses_first(shared: Api) -> None:
    one = {"name": "one", "kind": "popular", "limit": 5}
    other = {"name": "other", "kind": "recommendations", "limit": 5}
    popular, rest = filled(shared, [one, other])
    assert ids(popular) == shared.ids("/v1/items/popular", limit=5)
    first, after = filled(shared, [other, one])
    assert ids(first) == [
        place["item_id"] for place in shared.post("/v1/recommendations", {"limit": 5})["items"]
    ]
    assert not set(ids(first)) & set(ids(after))
    assert not set(ids(popular)) & set(ids(rest))


def test_one_that_cannot_be_filled_says_why_and_the_others_are_filled(shared: Api) -> None:
    wrong = [
        {"name": "none", "kind": "similar", "item_id": "none"},
        {"name": "too long", "kind": "popular", "limit": 501},
        {"name": "popular", "kind": "popular"},
    ]
    none, long, popular = filled(shared, wrong)
    assert none == {
        "name": "none",
        "items": [],
        "error": {
            "type": "unknown_item",
            "message": "there is no item 'none': check the id, or add the item first",
        },
    }
    assert long["items"] == []
    assert long["error"]["type"] == "invalid_request"
    assert "ranking.max_limit" in long["error"]["message"]
    assert ids(popular) == shared.ids("/v1/items/popular")


def test_a_page_larger_than_the_catalogue_is_filled_as_far_as_it_goes(shared: Api) -> None:
    page = [{"name": f"{n}", "kind": "popular", "limit": 25} for n in range(4)]
    found = filled(shared, page)
    assert [len(one["items"]) for one in found] == [25, 25, 10, 0]
    assert "error" not in found[3]


def test_the_history_is_read_once(shared: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    read, asked = Histories.newest, []
    monkeypatch.setattr(Histories, "newest", lambda *said: asked.append(said) or read(*said))
    filled(shared, PAGE, user_id="42", session_id="s")
    assert len(asked) == 1


def test_a_known_viewer_does_not_get_what_they_have_seen(shared: Api) -> None:
    page = [{"name": "a", "kind": "recommendations", "limit": 500}]
    met = {event["item_id"] for event in shared.get("/v1/users/42/events")["events"]}
    assert not set(ids(filled(shared, page, user_id="42")[0])) & met
    assert met <= set(ids(filled(shared, [page[0] | {"hide_seen": False}], user_id="42")[0]))


def test_placements_are_counted_as_one_request(shared: Api) -> None:
    line = rf'^recsys_requests_total{{method="POST",route="{PATH}",status="200"}} (\S+)$'

    def counted() -> float:
        return sum(map(float, re.findall(line, shared.client.get("/metrics").text, re.MULTILINE)))

    before = counted()
    filled(shared, PAGE)
    assert counted() - before == 1


ONE = {"name": "a", "kind": "popular"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "placements: is required"),
        ({"placements": []}, "placements: Tuple should have at least 1 item"),
        (
            {"placements": [ONE | {"name": str(n)} for n in range(MOST_PLACEMENTS + 1)]},
            "placements: Tuple should have at most 20 items",
        ),
        ({"placements": [ONE, ONE]}, "two placements are named 'a'"),
        ({"placements": [{"kind": "popular"}]}, "placements[0].popular.name: is required"),
        ({"placements": [ONE | {"kind": "best"}]}, "'recommendations', 'similar'"),
        ({"placements": [{"name": "a"}]}, "kind"),
        ({"placements": [ONE | {"item_id": "296"}]}, "item_id: is not known here"),
        ({"placements": [ONE | {"limit": 0}]}, "limit: should be"),
        ({"placements": [ONE | {"cursor": "x"}]}, "cursor: is not known here"),
        ({"placements": [ONE], "events": [{"item_id": "1", "type": "x"}]}, "events[0].type"),
        ({"placements": [{"name": "a", "kind": "similar"}]}, "item_id: is required"),
    ],
)
def test_a_malformed_page_is_refused_as_a_whole(shared: Api, body: dict, message: str) -> None:
    assert message in refused(shared, body)
