"""Rules in a running server: on every route, in every server, as long as they hold, and no longer."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import worlds
from apis import Api, running, until
from sqlalchemy import text

from recsys.catalogue.database import writing
from recsys.catalogue.rule import PLACEMENTS, KeptRule, Rule
from recsys.catalogue.rules import add_rule, remove_rule, replace_rule

SPACE = set(worlds.film_ids("Space"))
PICKED = "picked by the shop"
USER = "/v1/users/42/recommendations"
POST = "/v1/recommendations"

ROUTES = [
    ("recommendations", "GET", USER, {}),
    ("recommendations", "POST", POST, {"user_id": "42", "diversity": 0.5}),
    ("recommendations", "POST", POST, {"context_items": ["296"], "at_most": {"brand": 5}}),
    ("similar", "GET", "/v1/items/296/similar", {}),
    ("similar", "GET", "/v1/items/296/similar?by=text&user_id=1", {}),
    ("popular", "GET", "/v1/items/popular", {}),
    ("trending", "GET", "/v1/items/trending", {}),
    ("new", "GET", "/v1/items/new", {}),
    ("search", "POST", "/v1/search", {"items": [{"item_id": "space-1"}]}),
]


def rule_of(action: str, **said: object) -> dict:
    by = {"by": 30} if action in {"boost", "bury"} else {}
    return {"name": action, "action": action} | by | said


def keep(api: Api, action: str, **said: object) -> int:
    """The id of a new rule; the next slate knows it."""
    reply = api.client.post("/v1/rules", json=rule_of(action, **said))
    assert reply.status_code == 201, reply.text
    return reply.json()["id"]


def forget(api: Api, rule: int) -> None:
    assert api.client.delete(f"/v1/rules/{rule}").status_code == 204


def elsewhere(api: Api, *rules: dict) -> list[KeptRule]:
    """Put rules into the database, as another process would."""
    with writing(api.engine) as connection:
        given = [Rule.model_validate(rule) for rule in rules]
        return [add_rule(connection, rule, datetime.now(UTC)) for rule in given]


def pinned(api: Api, item: str, place: int, **said: object) -> int:
    return keep(api, "pin", items=[item], place=place, **said)


def slate(client: httpx.Client, method: str, path: str, body: dict) -> list[dict]:
    reply = client.request(method, path, json=body or None)
    assert reply.status_code == 200, reply.text
    return reply.json()["items"]


def ids(items: list[dict]) -> list[str]:
    return [item["item_id"] for item in items]


def test_a_rule_written_by_another_process_comes_and_goes_on_every_route(api: Api) -> None:
    api.ids(USER)
    top = rule_of("pin", items=["family-9"], place=2)
    pins = [top | {"placements": [placement]} for placement in PLACEMENTS]
    gone = rule_of("exclude", where={"categories": ["Space"]})
    kept = elsewhere(api, *pins, gone)
    until(lambda: not SPACE & set(api.ids("/v1/items/popular", limit=60)), seconds=30)
    for placement, method, path, body in ROUTES:
        items = slate(api.client, method, path, body)
        assert ids(items)[1] == "family-9", placement
        assert [item["reason"] == PICKED for item in items] == [n == 1 for n in range(10)]
        assert [item["rank"] for item in items] == list(range(1, 11))
        assert not set(ids(items)) & SPACE, placement
    with writing(api.engine) as connection:
        for rule in kept:
            remove_rule(connection, rule.id)
    until(lambda: set(api.ids("/v1/items/popular", limit=60)) > SPACE, seconds=30)
    for placement, method, path, body in ROUTES:
        items = slate(api.client, method, path, body)
        assert PICKED not in {item["reason"] for item in items}, placement


@pytest.mark.parametrize(("placement", "method", "path", "body"), ROUTES)
def test_a_rule_of_one_placement_is_not_heard_on_others(
    ruled: Api, placement: str, method: str, path: str, body: dict
) -> None:
    """The boosts of `ruled` are of one placement each, by a category of its own."""
    items = slate(ruled.client, method, path, body)
    promoted = {item["item_id"].split("-")[0] for item in items if item["reason"] == PROMOTED}
    assert promoted == {BOOSTED[placement].lower()} if placement in BOOSTED else promoted == set()


PROMOTED = "promoted by the shop"
BOOSTED = {"recommendations": "Family", "similar": "Space", "new": "Crime"}


@pytest.fixture(scope="module")
def ruled(shared: Api) -> Iterator[Api]:
    kept = [
        keep(shared, "boost", where={"categories": [genre]}, placements=[placement])
        for placement, genre in BOOSTED.items()
    ]
    yield shared
    for rule in kept:
        forget(shared, rule)


def test_what_rules_add_and_take_out_is_told(api: Api) -> None:
    keep(api, "bury", where={"categories": ["Crime"]}, by=2)
    keep(api, "exclude", items=["space-1", "space-2", "no such item"])
    reply = api.get(USER, limit=60, explain=True)
    for item in reply["items"]:
        assert item["parts"]["rules"] == (-2 if "rules" in item["parts"] and crime(item) else 0)
        assert item["score"] == pytest.approx(sum(item["parts"].values()), abs=1e-4)
    assert reply["account"]["removed"]["rules"] == 2
    plain = api.get("/v1/items/popular", explain=True)
    assert plain["account"]["removed"]["excluded"] == 0


def crime(item: dict) -> bool:
    return item["item_id"] in worlds.film_ids("Crime")


def test_a_rule_ends_when_its_time_has_come_with_nobody_doing_anything(api: Api) -> None:
    begins = datetime.now(UTC) + timedelta(seconds=1.5)
    ends = begins + timedelta(seconds=1.5)
    dates = {"starts_at": begins.isoformat(), "ends_at": ends.isoformat()}
    pinned(api, "family-9", 1, **dates)
    with api.engine.begin() as connection:  # nor does the database
        connection.execute(text("ALTER TABLE rules RENAME TO away"))
    shown = list[tuple[float, bool]]()
    while (now := (datetime.now(UTC) - begins).total_seconds()) < 2.5:
        top = api.ids("/v1/items/popular", limit=1) == ["family-9"]
        after = (datetime.now(UTC) - begins).total_seconds()
        if not any(now < edge < after for edge in (0, 1.5)):
            shown.append((now, top))
    assert {top for at, top in shown if 0 <= at < 1.5} == {True}
    assert {top for at, top in shown if at < 0 or at >= 1.5} == {False}


def test_two_servers_on_one_database_hear_of_a_rule(api: Api) -> None:
    with running(api.settings) as other:
        (rule,) = elsewhere(api, rule_of("pin", items=["family-9"], place=1))
        for client in (api.client, other):
            until(lambda c=client: top(c) == "family-9", seconds=30)  # type: ignore[misc]
        changed = Rule(name="x", action="pin", items=("space-9",), place=1)
        with writing(api.engine) as connection:
            replace_rule(connection, rule.id, changed, datetime.now(UTC) - timedelta(hours=1))
        for client in (api.client, other):
            until(lambda c=client: top(c) == "space-9", seconds=30)  # type: ignore[misc]
        with writing(api.engine) as connection:
            remove_rule(connection, rule.id)
        for client in (api.client, other):
            until(lambda c=client: top(c) not in {"family-9", "space-9"}, seconds=30)  # type: ignore[misc]


def top(client: httpx.Client) -> str:
    return client.get("/v1/items/popular?limit=1").json()["items"][0]["item_id"]


def test_rules_that_are_there_hold_from_the_first_slate_and_in_the_next_snapshot(api: Api) -> None:
    pinned(api, "family-9", 1)
    with running(api.settings) as other:
        assert top(other) == "family-9"
        newer = worlds.publish(api.settings.home, api.artefacts)
        until(lambda: other.get("/health/ready").json()["snapshot"] == newer)
        assert top(other) == "family-9"


@pytest.mark.parametrize("more", [{}, {"at_most": {"brand": 4}}, {"diversity": 0.4}], ids=str)
def test_pages_show_each_pin_once_at_its_place_and_are_the_one_slate(api: Api, more: dict) -> None:
    said = {"user_id": "nobody", "limit": 7} | more
    free = ids(api.post(POST, said | {"limit": 16})["items"])
    places = {"space-3": 1, free[10]: 7, free[0]: 8, free[1]: 12, free[12]: 12}
    for item, place in places.items():
        pinned(api, item, place)
    chain, cursor = list[dict](), None
    while not chain or cursor:
        reply = api.post(POST, said | {"cursor": cursor})
        chain += reply["items"]
        cursor = reply["next"]
    shown = ids(chain)
    assert len(shown) == len(set(shown)) == (16 if "at_most" in more else 60)
    assert {item: shown.index(item) + 1 for item in places} == places | {free[12]: 13}
    assert [item["rank"] for item in chain] == list(range(1, len(chain) + 1))
    assert {item["item_id"] for item in chain if item["reason"] == PICKED} == set(places)
    if not more:
        assert shown == ids(api.post(POST, said | {"limit": 60})["items"])
    if "at_most" in more:
        brands = {film.id: film.brand for film in worlds.films()}
        kinds = [brands[key] for key in shown]
        assert max(map(kinds.count, kinds)) == 4


def test_pins_of_more_than_a_quota_allows_are_not_all_shown(api: Api) -> None:
    for place, item in enumerate(("space-1", "space-5", "space-9"), start=1):  # all of Studio 1
        pinned(api, item, place)
    items = api.post(POST, {"limit": 6, "at_most": {"brand": 2}})["items"]
    assert ids(items)[:2] == ["space-1", "space-5"]
    assert len(items) == 6
    assert "space-9" not in ids(items)


def test_a_rule_that_changes_between_two_pages_shows_nothing_twice(api: Api) -> None:
    first = api.get("/v1/items/popular", limit=5)
    pinned(api, first["items"][0]["item_id"], 7)
    pinned(api, "family-9", 6)
    pinned(api, "space-9", 1)
    second = api.get("/v1/items/popular", limit=5, cursor=first["next"])
    shown = ids(first["items"] + second["items"])
    assert len(set(shown)) == 10
    assert shown[5] == "family-9"


def test_no_pin_is_in_two_placements_of_a_page(api: Api) -> None:
    pinned(api, "family-9", 1)
    pinned(api, "space-9", 1)
    page = [{"name": kind, "kind": kind, "limit": 5} for kind in ("popular", "trending", "new")]
    page.append({"name": "like it", "kind": "similar", "item_id": "space-9", "limit": 5})
    found = api.post("/v1/placements", {"placements": page})["placements"]
    assert ids(found[0]["items"])[:2] == ["family-9", "space-9"]
    shown = [key for one in found for key in ids(one["items"])]
    assert len(set(shown)) == len(shown) == 20


def test_given_candidates_are_ranked_without_pins_and_without_what_is_excluded(api: Api) -> None:
    pinned(api, "family-9", 1)
    keep(api, "exclude", items=["space-1"])
    given = ["space-1", "50", "296", "family-9"]
    reply = api.post(POST, {"user_id": "42", "candidates": given, "explain": True})
    assert set(ids(reply["items"])) == {"50", "296", "family-9"}
    assert ids(reply["items"])[2] == "family-9"
    assert reply["account"]["removed"]["rules"] == 1


def test_a_pin_is_in_no_search_unless_its_rule_says_so(api: Api) -> None:
    search = {"items": [{"item_id": "space-1"}]}
    plain = ids(api.post("/v1/search", search)["items"])
    pinned(api, "family-9", 1)
    assert ids(api.post("/v1/search", search)["items"]) == plain
    pinned(api, "crime-9", 1, placements=["search"])
    assert ids(api.post("/v1/search", search)["items"]) == ["crime-9", *plain][:10]
    assert api.ids("/v1/items/popular", limit=1) == ["family-9"]


def test_what_is_withdrawn_or_on_the_page_is_not_pinned(api: Api) -> None:
    pinned(api, "family-9", 1)
    pinned(api, "space-9", 1)
    assert api.ids("/v1/items/family-9/similar")[0] == "space-9"
    assert api.ids("/v1/items/popular", exclude=["space-9"])[:1] == ["family-9"]
    assert api.ids("/v1/items/popular", category="Crime")[0] not in {"family-9", "space-9"}
    assert api.client.patch("/v1/items/family-9", json={"available": False}).is_success
    shown = api.ids("/v1/items/popular", limit=60)
    assert shown[0] == "space-9"
    assert "family-9" not in shown


def test_requests_that_come_together_get_what_each_gets_alone(api: Api) -> None:
    keep(api, "boost", where={"categories": ["Family"]}, by=1, placements=["recommendations"])
    keep(api, "exclude", items=["space-3"])
    pinned(api, "space-9", 2)
    kinds = ("recommendations", "similar", "popular")
    paths = [path for kind, method, path, _ in ROUTES if method == "GET" and kind in kinds]
    paths += [f"/v1/users/{n}/recommendations?limit=7" for n in range(1, 9)]
    alone = [ids(slate(api.client, "GET", path, {})) for path in paths]
    with ThreadPoolExecutor(8) as people:
        for found in people.map(lambda path: slate(api.client, "GET", path, {}), paths * 4):
            assert ids(found) in alone
        together = list(people.map(lambda p: ids(slate(api.client, "GET", p, {})), paths * 4))
    assert together == list(itertools.chain(*[alone] * 4))


COMPILED = """
import sys
from fastapi.testclient import TestClient
from recsys.config import load_settings
from recsys.ranking import kernels
from recsys.serving.app import create_app

def compiled():
    programs = {name: getattr(found, "signatures", ()) for name, found in vars(kernels).items()}
    return {name: set(kinds) for name, kinds in programs.items() if kinds}

with TestClient(create_app(load_settings())) as client:
    before = compiled()
    for address in sys.argv[1:]:
        client.get(address).raise_for_status()
    assert compiled() == before, {n: compiled()[n] - before.get(n, set()) for n in compiled()}
"""


def test_nobody_waits_for_a_program_because_of_rules(api: Api) -> None:
    keep(api, "boost", where={"categories": ["Family"]})
    keep(api, "exclude", items=["space-3"])
    pinned(api, "space-9", 2)
    asked = [USER, f"{USER}?category=Crime&diversity=0.5", "/v1/items/296/similar?explain=true"]
    environment = os.environ | {
        "RECSYS_HOME": str(api.settings.home),
        "RECSYS_DATABASE__URL": api.settings.database_url,
        "RECSYS_EMBEDDING__TEXT_MODEL": "none",
    }
    subprocess.run([sys.executable, "-c", COMPILED, *asked], env=environment, check=True)
