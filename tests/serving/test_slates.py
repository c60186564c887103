"""Every route that answers with a slate, over real HTTP."""

import pytest
import worlds
from apis import Api

CRIME = set(worlds.film_ids("Crime"))

SLATES = [
    ("GET", "/v1/users/42/recommendations", {}),
    ("GET", "/v1/users/nobody/recommendations", {}),
    ("GET", "/v1/items/296/similar", {}),
    ("GET", "/v1/items/296/similar?user_id=1&by=text", {}),
    ("GET", "/v1/items/popular", {}),
    ("GET", "/v1/items/trending", {}),
    ("GET", "/v1/items/new", {}),
    ("POST", "/v1/recommendations", {"user_id": "42", "diversity": 0.5}),
    ("POST", "/v1/recommendations", {"context_items": ["296", "space-4"]}),
]


@pytest.mark.parametrize(("method", "path", "body"), SLATES)
def test_every_slate_is_full_ranked_named_and_sorted(
    shared: Api, method: str, path: str, body: dict
) -> None:
    reply = shared.client.request(method, path, json=body or None).json()
    assert reply["snapshot"] == shared.snapshot
    assert len(reply["recommendation_id"]) == 32
    assert [item["rank"] for item in reply["items"]] == list(range(1, 11))
    assert len({item["item_id"] for item in reply["items"]}) == 10
    assert not {item["item_id"] for item in reply["items"]} & worlds.NOT_SHOWN
    scores = [item["score"] for item in reply["items"]]
    assert scores == sorted(scores, reverse=True)
    assert all(item["reason"] and item["title"] for item in reply["items"])
    assert "account" not in reply
    assert "parts" not in reply["items"][0]


@pytest.mark.parametrize(("method", "path", "body"), SLATES)
def test_explained_parts_add_up_to_the_score(
    shared: Api, method: str, path: str, body: dict
) -> None:
    body = body and {**body, "explain": True}
    reply = shared.client.request(
        method,
        path + ("&" if "?" in path else "?") + "explain=true" * (not body),
        json=body or None,
    ).json()
    for item in reply["items"]:
        assert item["score"] == pytest.approx(sum(item["parts"].values()), abs=1e-4)
    assert set(reply["account"]) == {"retrieved", "removed", "failed", "widened"}
    assert reply["account"]["failed"] == []


def test_a_user_gets_more_of_what_the_user_likes(shared: Api) -> None:
    ids = shared.ids("/v1/users/42/recommendations", limit=8)
    assert set(ids) <= CRIME
    reasons = [i["reason"] for i in shared.get("/v1/users/42/recommendations", limit=3)["items"]]
    assert all(reason.startswith("because you") for reason in reasons)


def test_an_unknown_user_gets_what_is_popular(shared: Api) -> None:
    stranger = shared.ids("/v1/users/who%20is%20this/recommendations", limit=5)
    assert set(stranger) <= set(shared.ids("/v1/items/popular", limit=10))


def test_seen_items_are_hidden_until_asked_for(shared: Api) -> None:
    did = shared.get("/v1/users/42/events")["events"]
    met = {e["item_id"] for e in did}
    hidden = shared.ids("/v1/users/42/recommendations", limit=500)
    shown = shared.ids("/v1/users/42/recommendations", limit=500, hide_seen=False)
    assert {e["type"] for e in did} == {"like", "purchase", "click", "rating"}
    assert set(shown) - set(hidden) == met
    assert set(shown[:8]) & met


def test_limit_goes_up_to_the_whole_catalogue(shared: Api) -> None:
    assert len(shared.ids("/v1/items/popular", limit=500)) == 3 * worlds.FILMS_PER_GENRE
    assert len(shared.ids("/v1/items/popular", limit=1)) == 1


def test_categories_and_excluded_items_are_obeyed(shared: Api) -> None:
    path = "/v1/users/42/recommendations"
    ids = shared.ids(path, limit=500, category=["Space", "Family"], exclude=["space-1", "space-2"])
    assert len(ids) == 38
    assert not set(ids) & (CRIME | {"space-1", "space-2"})


def test_popular_items_are_those_with_the_most_likes_lately(shared: Api) -> None:
    popular = shared.artefacts.preference.popularity.popular
    ids = shared.artefacts.items.ids
    best = sorted(ids, key=lambda key: -popular[ids.ordinal(key)])
    assert shared.ids("/v1/items/popular", limit=10) == best[:10]


def test_new_items_are_those_published_last(shared: Api) -> None:
    published = {film.id: film.published_at for film in worlds.films() if film.published_at}
    dates = [published[key] for key in shared.ids("/v1/items/new", limit=60)]
    assert dates == sorted(dates, reverse=True)


def test_trending_items_have_gained(shared: Api) -> None:
    trending, ids = shared.artefacts.preference.popularity.trending, shared.artefacts.items.ids
    found = shared.ids("/v1/items/trending", limit=5)
    gains = [trending[ids.ordinal(key)] for key in found]
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] > 0


def test_similar_items_share_the_genre_and_leave_the_item_out(shared: Api) -> None:
    for by in ("blend", "behaviour", "text"):
        ids = shared.ids("/v1/items/space-3/similar", limit=8, by=by)
        assert sum(key.startswith("space") for key in ids) >= 6, by
        assert "space-3" not in ids


def test_similar_pictures_come_from_items_with_pictures(shared: Api) -> None:
    reply = shared.get("/v1/items/space-3/similar", limit=5, by="image", explain=True)
    assert all(int(item["item_id"].split("-")[1]) % 2 for item in reply["items"])
    assert all(set(item["parts"]) == {"image"} for item in reply["items"])
    assert "looks like *Space film 3*" in [item["reason"] for item in reply["items"]]


def test_similar_items_adapt_to_the_viewer(shared: Api) -> None:
    plain = shared.ids("/v1/items/family-9/similar", limit=30)
    crime_lover = shared.ids("/v1/items/family-9/similar", limit=30, user_id="42")
    assert len(CRIME & set(crime_lover)) > len(CRIME & set(plain))


def test_events_in_the_request_steer_the_slate_and_are_not_stored(shared: Api) -> None:
    told = [{"item_id": f"space-{n}", "type": "like"} for n in (1, 2, 3)]
    items = shared.post("/v1/recommendations", {"events": told, "session_id": "s1", "limit": 5})[
        "items"
    ]
    assert all(item["item_id"].startswith("space") for item in items)
    assert not {"space-1", "space-2", "space-3"} & {item["item_id"] for item in items}
    after = shared.post("/v1/recommendations", {"session_id": "s1", "limit": 5})["items"]
    assert [i["item_id"] for i in after] == shared.ids("/v1/users/nobody/recommendations", limit=5)


def test_what_is_disliked_in_the_request_is_gone_and_its_like_sinks(shared: Api) -> None:
    def slate(*events: dict) -> list[str]:
        liked = {"item_id": "crime-3", "type": "view"}
        body = {"events": [liked, *events], "limit": 20}
        return [item["item_id"] for item in shared.post("/v1/recommendations", body)["items"]]

    before = slate()
    after = slate({"item_id": before[0], "type": "dislike"})
    assert before[0] not in after
    assert len(CRIME & set(after)) < len(CRIME & set(before))


def test_a_basket_steers_and_is_left_out(shared: Api) -> None:
    body = {"context_items": ["family-1", "family-2", "not there"], "limit": 5}
    reply = shared.post("/v1/recommendations", body)
    ids = [item["item_id"] for item in reply["items"]]
    assert all(key.startswith("family") for key in ids)
    assert not {"family-1", "family-2"} & set(ids)
    assert reply["unknown"] == ["not there"]


def test_reranking_gives_back_exactly_the_known_items(shared: Api) -> None:
    given = ["space-1", "296", "what?", "family-3", "space-1", "crime-7", "nor/this"]
    reply = shared.post("/v1/recommendations", {"user_id": "42", "candidates": given})
    ids = [item["item_id"] for item in reply["items"]]
    assert sorted(ids) == ["296", "crime-7", "family-3", "space-1"]
    assert set(ids[:2]) == {"296", "crime-7"}
    assert reply["unknown"] == ["what?", "nor/this"]


def test_reranking_nothing_known_gives_an_empty_slate(shared: Api) -> None:
    for given in ([], ["nor this"]):
        reply = shared.post("/v1/recommendations", {"candidates": given, "explain": True})
        assert (reply["items"], reply["unknown"]) == ([], given)


def test_a_boost_lifts_and_a_bury_sinks(shared: Api) -> None:
    def share(by: float) -> int:
        boost = [{"where": {"categories": ["Space"]}, "by": by}]
        body = {"user_id": "42", "boosts": boost, "limit": 10, "candidates": None}
        items = shared.post("/v1/recommendations", body)["items"]
        return sum(item["item_id"].startswith("space") for item in items)

    assert share(50) == 10
    assert share(-50) == 0


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ({"categories": ["Space", "Crime"]}, lambda f: {"Space", "Crime"} & set(f.categories)),
        ({"without_categories": ["Drama"]}, lambda f: "Drama" not in f.categories),
        ({"brands": ["Studio 1", "none"]}, lambda f: f.brand == "Studio 1"),
        ({"without_brands": ["Studio 1"]}, lambda f: f.brand != "Studio 1"),
        ({"price_min": 10, "price_max": 15}, lambda f: f.price and 10 <= f.price <= 15),
        (
            {"attributes": {"year": ["1991", "1992"]}},
            lambda f: f.attributes["year"] in (1991, 1992),
        ),
        (
            {"attributes": {"languages": ["fr"], "year": ["1990"]}, "categories": ["Family"]},
            lambda f: (
                "fr" in f.attributes["languages"]
                and f.attributes["year"] == 1990
                and "Family" in f.categories
            ),
        ),
        ({"categories": ["no such"]}, lambda f: False),
    ],
)
def test_conditions_keep_exactly_what_meets_them(shared: Api, where: dict, holds) -> None:
    body = {"user_id": "42", "where": where, "limit": 500, "hide_seen": False}
    items = shared.post("/v1/recommendations", body)["items"]
    expected = {f.id for f in worlds.films() if f.id not in worlds.NOT_SHOWN and holds(f)}
    assert {item["item_id"] for item in items} == expected


def test_more_diversity_keeps_likenesses_apart(shared: Api) -> None:
    def likeness(diversity: float) -> float:
        ids = shared.ids("/v1/users/42/recommendations", limit=6, diversity=diversity)
        rows = shared.artefacts.spaces["text"].rows[shared.artefacts.items.ids.ordinals(ids)]
        return float((rows @ rows.T).mean())

    assert likeness(1) < likeness(0)


def test_removed_items_are_accounted_for(shared: Api) -> None:
    account = shared.get("/v1/users/42/recommendations", explain=True, exclude="296")["account"]
    assert account["removed"]["seen"] == 7
    assert account["removed"]["excluded"] == 1
    assert account["retrieved"]["cooccurrence"] > 0
