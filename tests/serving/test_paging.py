"""A chain of pages is one slate, cut: nothing comes twice, all comes once, and a cursor is for one question."""

from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import worlds
from apis import Api, alike, running, served_quickly, until
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalogue.database import connect, migrate
from recsys.catalogue.items import Item
from recsys.config import Settings
from recsys.serving.paging import opened, written
from recsys.serving.schemas import DEEPEST, LONGEST_CURSOR, ErrorReply

POST = "/v1/recommendations"
FILMS = {film.id: film for film in worlds.films()}

ASKED = [
    ("/v1/users/42/recommendations", {}),
    ("/v1/users/42/recommendations", {"hide_seen": False, "category": ["Crime", "Space"]}),
    ("/v1/users/nobody/recommendations", {}),
    ("/v1/items/296/similar", {}),
    ("/v1/items/296/similar", {"user_id": "1", "by": "text"}),
    ("/v1/items/popular", {}),
    ("/v1/items/trending", {}),
    ("/v1/items/new", {"category": ["Family"]}),
    (POST, {"user_id": "42", "session_id": "s"}),
    (POST, {"context_items": ["296", "space-4"], "where": {"price_max": 20}}),
    (POST, {"user_id": "42", "candidates": [*worlds.film_ids("Space"), "not there"]}),
]
SPREAD = [
    ("/v1/users/42/recommendations", {"diversity": 0.5}),
    (POST, {"user_id": "42", "diversity": 0.5, "at_most": {"brand": 3}}),
    (POST, {"user_id": "42", "at_most": {"brand": 9, "category": 6}}),
]


def ask(api: Api, path: str, said: dict, **more: object) -> dict:
    said = said | {name: value for name, value in more.items() if value is not None}
    return api.post(path, said) if path in {POST, "/v1/search"} else api.get(path, **said)


def pages(api: Api, path: str, said: dict, limit: int) -> Iterator[dict]:
    """One after the other, each asked for when it is wanted."""
    cursor = None
    while True:
        page = ask(api, path, said, limit=limit, cursor=cursor)
        yield page
        cursor = page["next"]
        if cursor is None:
            return


def ids(page: dict) -> list[str]:
    return [place["item_id"] for place in page["items"]]


def refused(api: Api, path: str, said: dict, status: int = 422) -> str:
    method = "POST" if path in {POST, "/v1/search"} else "GET"
    sent = {"json": said} if method == "POST" else {"params": said}
    reply = api.client.request(method, path, **sent)
    assert reply.status_code == status, reply.text
    return ErrorReply.model_validate_json(reply.content).error.message


@pytest.mark.parametrize("limit", [7, 20])
@pytest.mark.parametrize(("path", "said"), ASKED + SPREAD)
def test_all_pages_together_hold_each_item_of_the_whole_slate_once(
    shared: Api, path: str, said: dict, limit: int
) -> None:
    chain = list(pages(shared, path, said, limit))
    shown = [key for page in chain for key in ids(page)]
    assert len(shown) == len(set(shown))
    assert all(len(page["items"]) == limit for page in chain[:-1])
    assert [place["rank"] for page in chain for place in page["items"]] == list(
        range(1, len(shown) + 1)
    )
    whole = ids(ask(shared, path, said, limit=500))
    assert set(shown) == set(whole) or "at_most" in said
    assert len(shown) == len(whole)


@pytest.mark.parametrize(("path", "said"), ASKED)
def test_pages_are_the_one_slate_cut_where_nothing_happened(
    shared: Api, path: str, said: dict
) -> None:
    chain = pages(shared, path, said, 8)
    cut = next(chain)["items"] + next(chain)["items"]
    assert alike(cut, ask(shared, path, said, limit=16)["items"])


def test_all_pages_of_popular_are_everything_that_may_be_shown(shared: Api) -> None:
    shown = [key for page in pages(shared, "/v1/items/popular", {}, 9) for key in ids(page)]
    assert sorted(shown) == sorted(set(FILMS) - worlds.NOT_SHOWN)


def test_pages_may_differ_in_length_in_what_is_told_and_in_inline_events(shared: Api) -> None:
    body = {"session_id": "s1", "events": [{"item_id": "space-1", "type": "like"}]}
    first = ask(shared, POST, body, limit=3)
    body["events"].append({"item_id": "family-1", "type": "like"})
    second = ask(shared, POST, body, limit=40, cursor=first["next"], explain=True)
    assert not set(ids(first)) & set(ids(second))
    assert len(second["items"]) == 40
    assert second["account"]["failed"] == []
    assert any(key.startswith("family") for key in ids(second)[:10])


def test_events_between_the_pages_steer_what_follows_and_repeat_nothing(api: Api) -> None:
    said, path, shown = {"hide_seen": False}, "/v1/users/42/recommendations", []
    unmoved = ids(ask(api, path, said, limit=10))
    for n, page in enumerate(pages(api, path, said, 5)):
        shown += ids(page)
        assert len(page["items"]) == 5 or page["next"] is None
        liked = [*ids(page)[:1], *(f"space-{k}" for k in range(n, n + 6))]
        api.post("/v1/events", [{"user_id": "42", "item_id": i, "type": "like"} for i in liked])
    assert sorted(shown) == sorted(set(FILMS) - worlds.NOT_SHOWN)
    assert shown[:5] == unmoved[:5]
    assert sum(key.startswith("space") for key in shown[5:10]) > 2
    assert not any(key.startswith("space") for key in unmoved)


def test_what_is_withdrawn_between_the_pages_is_gone(api: Api) -> None:
    first = api.get("/v1/items/popular", limit=5)
    following = ids(api.get("/v1/items/popular", limit=5, cursor=first["next"]))
    api.client.delete(f"/v1/items/{following[0]}").raise_for_status()
    after = ids(api.get("/v1/items/popular", limit=5, cursor=first["next"]))
    assert after[:4] == following[1:]
    assert len(after) == 5


@pytest.mark.parametrize("diversity", [0, 0.5])
def test_a_quota_counts_over_all_pages_also_when_the_taste_changes_between_them(
    api: Api, diversity: float
) -> None:
    said = {
        "user_id": "42",
        "at_most": {"brand": 7, "category": 9},
        "hide_seen": False,
        "diversity": diversity,
    }
    shown: list[str] = []
    for n, page in enumerate(pages(api, POST, said, 4)):
        shown += ids(page)
        liked = [f"{genre}-{4 * n + 3}" for genre in ("crime", "space", "family")]
        api.post("/v1/events", [{"user_id": "42", "item_id": i, "type": "like"} for i in liked])
    assert len(shown) == len(set(shown))
    brands = Counter(FILMS[key].brand for key in shown)
    categories = Counter(name for key in shown for name in FILMS[key].categories)
    assert max(brands.values()) <= 7
    assert max(categories.values()) <= 9
    for key, film in FILMS.items():  # the chain ends only where nothing more would fit
        full = brands[film.brand] == 7 or any(categories[name] == 9 for name in film.categories)
        assert key in shown or full or key in worlds.NOT_SHOWN


def test_a_quota_that_is_used_up_ends_the_chain(shared: Api) -> None:
    said = {"user_id": "42", "at_most": {"brand": 2}}
    chain = list(pages(shared, POST, said, 5))
    assert [len(page["items"]) for page in chain] == [5, 3]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/users/43/recommendations", {}),
        ("/v1/users/42/recommendations", {"category": "Space"}),
        ("/v1/users/42/recommendations", {"exclude": "50"}),
        ("/v1/users/42/recommendations", {"hide_seen": "false"}),
        ("/v1/users/42/recommendations", {"session_id": "s"}),
        ("/v1/users/42/recommendations", {"diversity": 0.2}),
        ("/v1/items/50/similar", {}),
        ("/v1/items/popular", {}),
        (POST, {"user_id": "42"}),
    ],
)
def test_a_cursor_of_another_question_is_refused(shared: Api, path: str, said: dict) -> None:
    cursor = shared.get("/v1/users/42/recommendations")["next"]
    assert "it belongs to another question" in refused(shared, path, said | {"cursor": cursor})


@pytest.mark.parametrize("part", ["where", "boosts", "at_most", "context_items", "candidates"])
def test_a_cursor_of_other_conditions_is_refused(shared: Api, part: str) -> None:
    said = {
        "user_id": "42",
        "where": {"categories": ["Crime"]},
        "boosts": [{"where": {"categories": ["Crime"]}, "by": 1}],
        "at_most": {"brand": 4},
        "context_items": ["296"],
        "candidates": worlds.film_ids("Crime"),
    }
    cursor = shared.post(POST, said | {"limit": 2})["next"]
    assert cursor
    del said[part]
    message = refused(shared, POST, said | {"cursor": cursor})
    assert "send it to the address that gave it, with the same parameters" in message


LETTERS = st.characters(codec="ascii", categories=["L", "N"], include_characters="-_")


@given(data=st.data())
def test_a_damaged_cursor_is_refused_in_words_whatever_became_of_it(
    shared: Api, data: st.DataObject
) -> None:
    true = shared.get("/v1/items/popular", limit=5)["next"]
    place = data.draw(st.integers(0, len(true) - 1))
    harmed = data.draw(
        st.one_of(
            st.text(LETTERS, max_size=80),
            st.text(max_size=20),
            st.binary(max_size=60).map(lambda b: urlsafe_b64encode(b).decode()),
            st.just(true[:place]),
            st.just(true[place + 1 :]),
            st.just(true + "="),
            LETTERS.map(lambda letter: true[:place] + letter + true[place + 1 :]),
        ).filter(lambda made: made != true)
    )
    assert "cursor: it is damaged" in refused(shared, "/v1/items/popular", {"cursor": harmed})


def test_a_cursor_made_by_hand_is_never_more_than_a_list_of_items_not_to_show(shared: Api) -> None:
    asked = opened(shared.get("/v1/items/popular", limit=4)["next"])[2]

    def made(items: list[int]) -> str:
        return written(items, asked, shared.snapshot)

    for items in ([0, 0], list(range(DEEPEST))):
        assert "damaged" in refused(shared, "/v1/items/popular", {"cursor": made(items)})
    everything = shared.artefacts.items.ids
    first = everything.ordinal(shared.ids("/v1/items/popular")[0])
    for items in ([first, len(everything)], [first, 2**31 - 1]):
        found = shared.ids("/v1/items/popular", cursor=made(items))
        assert found == shared.ids("/v1/items/popular", limit=11)[1:]


def test_a_cursor_of_an_impossible_length_is_refused(shared: Api) -> None:
    message = refused(shared, "/v1/items/popular", {"cursor": "A" * (LONGEST_CURSOR + 1)})
    assert "at most 6000 characters" in message


@given(
    st.integers(1, 31).flatmap(
        lambda bits: st.lists(
            st.integers(0, 2**bits - 2), min_size=1, max_size=DEEPEST - 1, unique=True
        )
    )
)
def test_a_cursor_holds_the_items_and_is_bounded_and_safe_in_an_address(items: list[int]) -> None:
    made = written(items, 1234, "snapshot")
    assert opened(made)[0] == sorted(items)
    assert len(made) < LONGEST_CURSOR
    assert made.replace("-", "").replace("_", "").isalnum()


def test_a_cursor_of_ten_among_a_hundred_thousand_is_short() -> None:
    items = np.random.default_rng(0).choice(100_000, 10, replace=False).tolist()
    assert len(written(items, 1234, "snapshot")) < 60


def test_a_chain_goes_on_when_another_snapshot_is_served(api: Api) -> None:
    first, second = (p for p, _ in zip(pages(api, "/v1/items/popular", {}, 8), "12", strict=False))
    worlds_new = [Item(id=f"a-{n}", title=f"New {n}", categories=("Space",)) for n in range(5)]
    worlds.fill(api.engine, worlds_new)  # they come first in the order of ids
    api.client.delete(f"/v1/items/{ids(first)[0]}").raise_for_status()
    published = worlds.publish(api.settings.home, worlds.build(api.engine, api.settings))
    until(lambda: api.get("/health/ready")["snapshot"] == published)
    shown, cursor = ids(first) + ids(second), second["next"]
    while cursor:
        page = api.get("/v1/items/popular", limit=8, cursor=cursor)
        assert page["snapshot"] == published
        shown, cursor = shown + ids(page), page["next"]
    assert len(shown) == len(set(shown))
    assert set(shown) == (set(FILMS) - worlds.NOT_SHOWN) | {item.id for item in worlds_new}


def test_a_chain_whose_snapshot_is_gone_says_so(api: Api) -> None:
    first = api.get("/v1/items/popular", limit=8)
    published = worlds.publish(api.settings.home, api.artefacts)
    until(lambda: api.get("/health/ready")["snapshot"] == published)
    assert api.get("/v1/items/popular", cursor=first["next"])["items"]
    with api.snapshots.rebuilding():
        api.snapshots.prune(1)
    message = refused(api, "/v1/items/popular", {"cursor": first["next"]}, 410)
    assert f"is gone, and {published} is served now" in message
    assert "ask for the first page again" in message


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """More items than the sources find, than are judged, and than a chain shows."""
    settings = served_quickly(Settings(home=Path(tmp_path_factory.mktemp("large"))))
    engine = connect(settings)
    migrate(engine)
    more = [Item(id=f"more-{n}", title=f"More {n}", brand=f"Studio {n % 4}") for n in range(1_100)]
    worlds.fill(engine, [*worlds.films(), *more])
    artefacts = worlds.build(engine, settings)
    snapshot = worlds.publish(settings.home, artefacts)
    with running(settings) as client:
        yield Api(client, settings, engine, artefacts, snapshot)
    engine.dispose()


@pytest.mark.parametrize("path", ["/v1/items/popular", "/v1/users/42/recommendations"])
def test_deep_pages_are_full_and_a_chain_ends_at_a_thousand_items(large: Api, path: str) -> None:
    chain = list(pages(large, path, {}, 100))
    assert [len(page["items"]) for page in chain] == [100] * (DEEPEST // 100)
    shown = [key for page in chain for key in ids(page)]
    assert len(set(shown)) == DEEPEST
    assert max(len(page["next"] or "") for page in chain) < 2_500
