"""A film listed twice, with the same photo or with none, is shown once: in a slate, on a page, in all placements."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import worlds
from apis import Api, running, served_quickly

from recsys.catalogue.database import connect, migrate
from recsys.config import Settings

TWICE = [film for film in worlds.films() if film.id not in worlds.NOT_SHOWN][::3]
AGAIN = [film.model_copy(update={"id": f"{film.id} again"}) for film in TWICE]
POST = "/v1/recommendations"
EVERY_FILM = len(worlds.films()) - len(worlds.NOT_SHOWN)

ASKED = [
    ("/v1/users/42/recommendations", {"hide_seen": False}),
    ("/v1/users/42/recommendations", {"diversity": 0.6, "hide_seen": False}),
    ("/v1/users/nobody/recommendations", {}),
    ("/v1/items/popular", {}),
    ("/v1/items/new", {}),
    (POST, {"user_id": "42", "hide_seen": False, "at_most": {"brand": 14}}),
]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    settings = served_quickly(Settings(home=Path(tmp_path_factory.mktemp("twice"))))
    engine = connect(settings)
    migrate(engine)
    worlds.fill(engine, worlds.films() + AGAIN)
    artefacts = worlds.build(engine, settings)
    snapshot = worlds.publish(settings.home, artefacts)
    with running(settings) as client:
        yield Api(client, settings, engine, artefacts, snapshot)
    engine.dispose()


def ask(api: Api, path: str, said: dict, **more: object) -> dict:
    said = said | {name: value for name, value in more.items() if value is not None}
    return api.post(path, said) if path == POST else api.get(path, **said)


def films(*slates: dict) -> list[str]:
    """What is shown, by the film that it is."""
    return [item["item_id"].removesuffix(" again") for slate in slates for item in slate["items"]]


def test_the_films_listed_twice_are_found_and_no_others(api: Api) -> None:
    found = api.artefacts.facts.duplicates
    groups = [found.of_group(number) for number in range(len(found.ends) - 1)]
    ids = [api.artefacts.items.ids.external(group) for group in groups]
    assert sorted(map(sorted, ids)) == sorted([film.id, f"{film.id} again"] for film in TWICE)


@pytest.mark.parametrize(("path", "said"), ASKED)
@pytest.mark.parametrize("limit", [7, 30])
def test_all_pages_together_show_each_film_once(
    api: Api, path: str, said: dict, limit: int
) -> None:
    chain, cursor = list[dict](), None
    while not chain or cursor:
        chain.append(ask(api, path, said, limit=limit, cursor=cursor))
        cursor = chain[-1]["next"]
    shown = films(*chain)
    assert len(shown) == len(set(shown)) == (56 if "at_most" in said else EVERY_FILM)
    assert all(len(page["items"]) == limit for page in chain[:-1])


def test_the_next_page_shows_no_other_listing_of_what_was_shown_though_it_is_now_liked_more(
    api: Api,
) -> None:
    said = {"session_id": "somebody", "hide_seen": False}
    first = ask(api, POST, said, limit=20)
    shown = [item["item_id"] for item in first["items"]]
    both = {key: key.removesuffix(" again") for key in shown}
    events = []
    for key, film in both.items():
        if film in {film.id for film in TWICE}:
            other = film if key.endswith(" again") else f"{film} again"
            events += [{"item_id": other, "type": "like"}, {"item_id": key, "type": "dislike"}]
    assert len(events) > 6
    following = ask(api, POST, said | {"events": events}, limit=60, cursor=first["next"])
    assert not set(films(first)) & set(films(following))
    assert len(films(first, following)) == EVERY_FILM


@pytest.mark.parametrize("film", [film.id for film in TWICE[:6]])
@pytest.mark.parametrize("listing", ["", " again"])
def test_a_films_page_does_not_suggest_its_other_listing(api: Api, film: str, listing: str) -> None:
    for by in ("blend", "text"):
        slate = api.get(f"/v1/items/{film}{listing}/similar", limit=40, by=by)
        shown = films(slate)
        assert film not in shown
        assert len(shown) == len(set(shown)) == 40
    assert film not in films(ask(api, POST, {"exclude": [f"{film}{listing}"]}, limit=60))


def test_no_placement_shows_another_listing_of_what_one_before_it_shows(api: Api) -> None:
    placements = [
        {"name": "for you", "kind": "recommendations", "limit": 12},
        {"name": "similar", "kind": "similar", "item_id": TWICE[1].id, "limit": 12},
        {"name": "popular", "kind": "popular", "limit": 12},
        {"name": "new", "kind": "new", "limit": 12},
    ]
    filled = api.post("/v1/placements", {"user_id": "42", "placements": placements})["placements"]
    shown = films(*filled)
    assert len(shown) == len(set(shown)) == 48


def test_a_list_of_candidates_is_ranked_as_it_is_given(api: Api) -> None:
    given = [key for film in TWICE[:5] for key in (film.id, f"{film.id} again")]
    slate = ask(api, POST, {"candidates": given, "context_items": given[:1]}, limit=6)
    rest = ask(
        api, POST, {"candidates": given, "context_items": given[:1]}, limit=6, cursor=slate["next"]
    )
    shown = [item["item_id"] for page in (slate, rest) for item in page["items"]]
    assert sorted(shown) == sorted(given[1:])


@pytest.fixture
def ruled(api: Api, request: pytest.FixtureRequest) -> Iterator[Api]:
    """With a rule in force."""
    reply = api.client.post("/v1/rules", json={"name": "x"} | request.param)
    yield api
    assert api.client.delete(f"/v1/rules/{reply.json()['id']}").is_success


ONE = TWICE[4].id


@pytest.mark.parametrize("ruled", [{"action": "exclude", "items": [ONE]}], indirect=True)
def test_a_film_excluded_by_a_rule_is_shown_in_neither_listing(ruled: Api) -> None:
    shown = films(ask(ruled, "/v1/items/popular", {}, limit=200))
    assert len(shown) == EVERY_FILM - 1
    assert ONE not in shown


@pytest.mark.parametrize("listing", [ONE, f"{ONE} again"])
@pytest.mark.parametrize("place", [1, 25])
def test_a_pinned_film_is_shown_once_on_all_pages_in_the_listing_that_is_pinned(
    api: Api, listing: str, place: int
) -> None:
    rule = {"name": "x", "action": "pin", "items": [listing], "place": place}
    number = api.client.post("/v1/rules", json=rule).json()["id"]
    for path, said in ASKED:
        chain, cursor = list[dict](), None
        while not chain or cursor:
            chain.append(ask(api, path, said, limit=7, cursor=cursor))
            cursor = chain[-1]["next"]
        items = [item["item_id"] for page in chain for item in page["items"]]
        assert items[place - 1] == listing
        assert len(set(films(*chain))) == len(items)
    assert api.client.delete(f"/v1/rules/{number}").is_success
