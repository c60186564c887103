"""What rules make of slates: what is excluded is in none, what is boosted rises, what is pinned is at its place."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import numpy as np
import pytest
import worlds
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalogue.rule import PLACEMENTS, KeptRule, Placement
from recsys.config import RankingSettings
from recsys.identity import NOTHING, Ordinals
from recsys.index.duplicates import Duplicates
from recsys.ranking import recommender as ranking
from recsys.ranking.block import Block, alike
from recsys.ranking.candidates import History, Pin, Query, Quota, Ruling, Slate, Where
from recsys.ranking.pinning import arranged, due
from recsys.ranking.reasons import deeds
from recsys.ranking.recommender import Recommender
from recsys.ranking.rules import Rules
from recsys.snapshot import Artefacts

NOW = datetime(2026, 7, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPACE = {"where": {"categories": ["Space"]}}
PICKED = "picked by the shop"

numbers = count(1)


def rule(action: str, **said: object) -> KeptRule:
    given = {"name": action, "action": action, "created_at": NOW, "updated_at": NOW}
    if action in {"boost", "bury"}:
        given["by"] = 1
    return KeptRule.model_validate(given | {"id": next(numbers)} | said)


def pin(item: str, place: int, **said: object) -> KeptRule:
    return rule("pin", items=[item], place=place, **said)


@pytest.fixture(scope="module")
def recommender(artefacts: Artefacts) -> Recommender:
    return Recommender.of(artefacts, RankingSettings())


def rules_of(recommender: Recommender, *kept: KeptRule) -> Rules:
    return Rules(recommender.items, recommender.lookup, recommender.duplicates, kept)


def ruled(
    recommender: Recommender,
    *kept: KeptRule,
    at: datetime = NOW,
    placement: Placement = "recommendations",
) -> dict[str, object]:
    """What the rules say, as parts of a query."""
    ruling = rules_of(recommender, *kept).at(at, placement)
    return {"ruling": ruling, "pins": ruling.pins if ruling else ()}


def ordinals(recommender: Recommender, *ids: str) -> Ordinals:
    return recommender.items.ids.ordinals(ids)


def viewer(recommender: Recommender, genre: str = "Crime", **query: object) -> Query:
    items = ordinals(recommender, *worlds.film_ids(genre)[:3])
    history = History(items, np.ones(3, dtype=np.float32), deeds(["like"] * 3))
    return Query(**{"at": NOW, "limit": 10, "history": history, "seen": items} | query)


def ids(slate: Slate) -> list[str]:
    return [item.item for item in slate.items]


def test_what_is_excluded_is_shown_to_nobody_and_counted_under_a_name_of_its_own(
    recommender: Recommender,
) -> None:
    query = viewer(recommender, "Space")
    free = recommender.recommend(query)
    slate = recommender.recommend(replace(query, **ruled(recommender, rule("exclude", **SPACE))))
    assert not set(ids(slate)) & set(worlds.film_ids("Space"))
    assert len(slate.items) == 10
    assert free.removed["rules"] == 0
    assert slate.removed.pop("rules") >= 10
    assert slate.removed == {k: v for k, v in free.removed.items() if k != "rules"}


def test_sources_offer_what_is_left_where_most_of_what_they_like_is_excluded(
    recommender: Recommender,
) -> None:
    """A pool of five is filled with five that may be shown, and with what fits the viewer best."""
    few = replace(recommender, settings=RankingSettings(candidates=5, pool=5))
    gone = worlds.film_ids("Crime")[:15]
    query = viewer(few, limit=3, **ruled(few, rule("exclude", items=gone)))
    slate = few.recommend(query)
    assert set(ids(slate)) <= set(worlds.film_ids("Crime")[15:])
    assert slate.widened == {}


def test_a_request_may_ask_for_no_more_than_rules_leave(recommender: Recommender) -> None:
    says = ruled(recommender, rule("exclude", **SPACE), rule("exclude", items=["296"]))
    slate = recommender.recommend(viewer(recommender, seen=NOTHING, limit=500, **says))
    assert len(slate.items) == 60 - 20 - 1
    narrow = Where(categories=("Space",))
    assert recommender.recommend(viewer(recommender, where=narrow, **says)).items == ()
    given = ordinals(recommender, "296", "space-1", "family-1")
    ranked = recommender.recommend(viewer(recommender, rerank=given, seen=NOTHING, **says))
    assert ids(ranked) == ["family-1"]
    assert (ranked.removed["rules"], ranked.removed["where"]) == (2, 0)


@pytest.mark.parametrize("more", [{"diversity": 0.5}, {"quota": Quota(brand=1)}], ids=str)
def test_a_diverse_slate_and_one_with_a_quota_hold_nothing_excluded(
    recommender: Recommender, more: dict
) -> None:
    says = ruled(recommender, rule("exclude", where={"brands": ["Studio 1", "Studio 2"]}))
    slate = recommender.recommend(viewer(recommender, limit=20, **more, **says))
    rows = ordinals(recommender, *ids(slate))
    brands = {row["brand"] for row in recommender.items.data.take(rows).to_pylist()}
    assert brands == {"Studio 0", "Studio 3"}
    assert len(slate.items) == (2 if "quota" in more else 20)


def test_a_search_looks_among_what_rules_leave(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the nearest are all excluded, the next nearest are found, and not what is popular."""
    monkeypatch.setattr(ranking, "NARROW", 0)
    few = replace(recommender, settings=RankingSettings(candidates=5, pool=5))
    space = few.spaces["text"]
    sought = {"text": space.rows[int(ordinals(few, "space-1")[0])].astype(np.float32)}
    query = Query(at=NOW, limit=3, sought=sought, sources=frozenset({"text"}))
    near = ids(few.recommend(replace(query, limit=20)))
    says = ruled(few, rule("exclude", items=near[:12]), placement="search")
    slate = few.recommend(replace(query, **says))
    assert ids(slate) == near[12:15]
    assert slate.widened == {}


def test_a_boost_lifts_and_a_bury_sinks_by_as_much_and_both_are_told(
    recommender: Recommender,
) -> None:
    query = viewer(recommender, limit=60)
    free = {item.item: item for item in recommender.recommend(query).items}
    says = ruled(
        recommender,
        rule("boost", by=40, **SPACE),
        rule("boost", by=2, items=["space-1"]),
        rule("bury", by=30, items=["crime-9", "space-2"]),
    )
    slate = recommender.recommend(replace(query, **says))
    parts = {item.item: item.parts["rules"] for item in slate.items}
    assert (parts["space-1"], parts["space-2"], parts["crime-9"], parts["family-1"]) == (
        42,
        10,
        -30,
        0,
    )
    for item in slate.items:
        assert item.score == pytest.approx(free[item.item].score + item.parts["rules"], abs=1e-4)
    assert ids(slate)[0] == "space-1"
    assert ids(slate)[-1] == "crime-9"
    assert slate.items[0].reason == "promoted by the shop"
    assert {i.reason for i in slate.items if i.item.startswith("family")}.isdisjoint(
        {"promoted by the shop"}
    )


def test_rules_and_boosts_of_a_request_are_parts_of_their_own(recommender: Recommender) -> None:
    boosts = (ranking_boost(-3),)
    says = ruled(recommender, rule("boost", by=2, **SPACE))
    slate = recommender.recommend(viewer(recommender, boosts=boosts, limit=60, **says))
    told = {item.item: (item.parts["rules"], item.parts["boost"]) for item in slate.items}
    assert told["space-3"] == (2, -3)


def ranking_boost(by: float) -> object:
    from recsys.ranking.candidates import Boost

    return Boost(Where(categories=("Space",)), by)


def test_pins_are_at_their_places_and_the_others_in_the_order_they_had(
    recommender: Recommender,
) -> None:
    query = viewer(recommender)
    free = ids(recommender.recommend(replace(query, limit=30)))
    low = [free[20], free[5]]
    slate = recommender.recommend(
        replace(query, **ruled(recommender, pin(low[0], 1), pin(low[1], 4), pin("space-9", 10)))
    )
    shown = ids(slate)
    assert (shown[0], shown[3], shown[9]) == (*low, "space-9")
    rest = [key for key in free if key not in {*low, "space-9"}]
    assert [key for key in shown if key not in {*low, "space-9"}] == rest[:7]
    assert [n for n, item in enumerate(slate.items) if item.reason == PICKED] == [0, 3, 9]
    assert slate.items[0].score == 0


def test_of_several_pins_for_one_place_the_oldest_wins_and_the_others_take_the_next_free(
    recommender: Recommender,
) -> None:
    kept = [pin("space-1", 2), pin("space-2", 2), pin("space-3", 3), pin("space-4", 2)]
    says = ruled(recommender, *reversed(kept))
    shown = ids(recommender.recommend(viewer(recommender, **says)))
    assert shown[1:5] == ["space-1", "space-3", "space-2", "space-4"]


def test_an_item_pinned_twice_is_shown_once_where_the_older_rule_says(
    recommender: Recommender,
) -> None:
    says = ruled(recommender, pin("space-1", 5), pin("space-1", 1))
    shown = ids(recommender.recommend(viewer(recommender, **says)))
    assert shown.index("space-1") == 4
    assert shown.count("space-1") == 1


UNFIT = [
    ({"where": Where(categories=("Crime",))}, "it does not meet the condition"),
    ({"exclude": "space-1"}, "it is excluded"),
    ({"context": "space-1"}, "it is on the page"),
    ({"withdrawn": "space-1"}, "it was withdrawn"),
]


@pytest.mark.parametrize(("more", "why"), UNFIT, ids=[why for _, why in UNFIT])
def test_a_pin_that_may_not_be_shown_leaves_its_place_to_the_next(
    recommender: Recommender, more: dict, why: str
) -> None:
    del why
    more = {k: ordinals(recommender, v) if isinstance(v, str) else v for k, v in more.items()}
    says = ruled(recommender, pin("space-1", 1), pin("50", 1))
    slate = recommender.recommend(viewer(recommender, **more, **says, seen=NOTHING))
    assert ids(slate)[0] == "50"
    assert "space-1" not in ids(slate)
    assert len(slate.items) == 10


@pytest.mark.parametrize("hidden", ["hidden", "expired", "tomorrow", "no such item"])
def test_a_pin_of_what_is_not_on_offer_or_unknown_changes_nothing(
    recommender: Recommender, hidden: str
) -> None:
    query = viewer(recommender, at=datetime.now(UTC))
    slate = recommender.recommend(replace(query, **ruled(recommender, pin(hidden, 1))))
    assert ids(slate) == ids(recommender.recommend(query))


def test_what_is_excluded_by_a_rule_is_not_pinned_by_another(recommender: Recommender) -> None:
    says = ruled(recommender, pin("space-1", 1), rule("exclude", **SPACE))
    slate = recommender.recommend(viewer(recommender, **says))
    assert not set(ids(slate)) & set(worlds.film_ids("Space"))


def test_a_pin_is_shown_to_those_who_have_seen_it(recommender: Recommender) -> None:
    query = viewer(recommender, **ruled(recommender, pin("296", 3)))
    assert ordinals(recommender, "296")[0] in query.seen
    assert ids(recommender.recommend(query))[2] == "296"


def test_where_there_is_too_little_to_show_pins_are_as_near_to_their_places_as_can_be(
    recommender: Recommender,
) -> None:
    says = ruled(recommender, pin("space-1", 9), pin("space-3", 7))
    three = Where(categories=("Space",), attributes=(("year", ("1991",)),))
    found = ids(recommender.recommend(viewer(recommender, where=three)))
    shown = ids(recommender.recommend(viewer(recommender, where=three, **says)))
    assert shown == [key for key in found if key != "space-1"] + ["space-1"]


def test_an_item_pinned_to_a_place_behind_the_slate_is_not_in_it(recommender: Recommender) -> None:
    query = viewer(recommender)
    best = ids(recommender.recommend(query))[0]
    shown = ids(recommender.recommend(replace(query, **ruled(recommender, pin(best, 11)))))
    assert best not in shown
    assert len(shown) == 10


def test_a_rule_holds_from_its_start_until_its_end(recommender: Recommender) -> None:
    rules = rules_of(
        recommender,
        pin("space-1", 1, starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR),
        rule("boost", ends_at=NOW + HOUR, **SPACE),
    )

    def at(moment: datetime) -> tuple[int, int]:
        ruling = rules.at(moment, "recommendations")
        return (len(ruling.pins), len(ruling.lift) // 60) if ruling else (0, 0)

    moment = timedelta.resolution
    assert at(NOW) == (0, 1)
    assert at(NOW + HOUR - moment) == (0, 1)
    assert at(NOW + HOUR) == (1, 0)
    assert at(NOW + 2 * HOUR - moment) == (1, 0)
    assert at(NOW + 2 * HOUR) == (0, 0)
    assert at(NOW) == (0, 1), "whatever was asked before"


def test_what_rules_say_is_worked_out_once_for_a_stretch_of_time(recommender: Recommender) -> None:
    rules = rules_of(recommender, rule("exclude", ends_at=NOW + HOUR, **SPACE))
    first = rules.at(NOW, "similar")
    assert first is not None
    assert rules.at(NOW + HOUR / 2, "similar") is first
    assert rules.at(NOW, "new") is first, "slates with the same rules share it"
    assert rules.at(NOW + HOUR, "similar") is None


def test_what_rules_that_stay_are_about_is_not_looked_up_again(recommender: Recommender) -> None:
    stays, before = rule("boost", **SPACE), rule("bury", items=["296"])
    first = rules_of(recommender, stays, before)
    found, was = first.about(stays), first.about(before)
    after = before.model_copy(update={"items": ("50",), "updated_at": NOW + HOUR})
    other = first.having([stays, after])
    assert other.about(stays) is found
    assert other.about(after).tolist() == ordinals(recommender, "50").tolist()
    assert first.about(before) is was


def test_a_rule_is_about_the_placements_it_names(recommender: Recommender) -> None:
    rules = rules_of(
        recommender,
        rule("exclude", items=["50"], placements=["similar", "new"]),
        pin("space-1", 1),
        pin("space-2", 1, placements=["search"]),
    )
    one, two = (Pin(1, int(n)) for n in ordinals(recommender, "space-1", "space-2"))
    for placement in PLACEMENTS:
        ruling = rules.at(NOW, placement)
        assert ruling is not None
        assert bool(len(ruling.hidden)) == (placement in {"similar", "new"})
        assert ruling.pins == ((two,) if placement == "search" else (one,))


@pytest.mark.parametrize(
    "nothing", [rule("exclude", items=["none"]), rule("boost", where={"brands": ["none"]})]
)
def test_a_rule_about_no_item_of_the_snapshot_changes_nothing(
    recommender: Recommender, nothing: KeptRule
) -> None:
    assert rules_of(recommender, nothing).at(NOW, "recommendations") is None


def test_queries_with_the_same_rules_are_one_block_and_each_gets_what_it_gets_alone(
    recommender: Recommender,
) -> None:
    says = ruled(recommender, rule("exclude", **SPACE), rule("boost", items=["50"]), pin("318", 2))
    asked = [
        viewer(recommender, genre, where=where, **more)
        for genre in worlds.GENRES
        for where in (Where(), Where(categories=("Family",)))
        for more in ({}, says)
    ]
    blocks = list(alike(asked))
    assert len(blocks) == 2
    for places in blocks:
        slates = recommender.answer(Block([asked[place] for place in places]))
        for n, place in enumerate(places):
            assert slates.slate(n) == recommender.recommend(asked[place])


def groups_of(*groups: Sequence[int], items: int = 30) -> Duplicates:
    labels = np.arange(100, 100 + items)
    for number, group in enumerate(groups):
        labels[list(group)] = number
    return Duplicates.of(
        labels, np.array(sorted(n for group in groups for n in group), dtype=np.int64)
    )


EVERY = np.arange(30)


def test_of_pinned_near_duplicates_the_older_is_shown_and_all_of_them_are_held_back() -> None:
    twins = groups_of([3, 4, 5])
    found = due([Pin(2, 4), Pin(1, 3)], EVERY, NOTHING, twins)
    assert found.places == {1: 4}
    assert set(found.held.tolist()) == {3, 4, 5}


def test_what_pages_show_is_pinned_to_no_later_one_and_keeps_its_place_from_others() -> None:
    pins = [Pin(2, 7), Pin(2, 8), Pin(4, 9), Pin(1, 6)]
    first = due(pins, EVERY, NOTHING, groups_of())
    assert first.places == {0: 6, 1: 7, 2: 8, 3: 9}
    assert set(first.held.tolist()) == {6, 7, 8, 9}
    second = due(pins, EVERY, np.array([6, 7]), groups_of())
    assert second.places == {0: 8, 1: 9}
    late = due([*pins, Pin(1, 20)], EVERY, np.array([6, 7, 8, 9]), groups_of())
    assert late.places == {0: 20}, "the first place that is free"
    passed = due([Pin(1, 20)], EVERY, np.array([6, 7]), groups_of())
    assert passed.places == {}
    assert not len(passed.held), "it is ranked like any other"


def test_a_near_duplicate_of_what_an_earlier_page_shows_is_not_pinned() -> None:
    assert due([Pin(3, 4)], EVERY, np.array([3, 9]), groups_of([3, 4])).places == {}


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 29)), max_size=8),
    st.integers(1, 7),
    st.integers(0, 30),
)
def test_pages_of_any_length_are_the_one_slate(
    said: list[tuple[int, int]], length: int, there: int
) -> None:
    """Of a ranking of 30 items, of which some may be shown."""
    pins = [Pin(*each) for each in said]
    allowed = EVERY[:there]

    def page(shown: list[int], limit: int) -> list[int]:
        wanted = due(pins, allowed, np.array(shown, dtype=np.int64), groups_of())
        held = {*wanted.held.tolist(), *shown}
        others = [n for n in allowed.tolist() if n not in held]
        return list(arranged(others, wanted.places, limit))

    whole, chain = page([], 30), list[int]()
    while found := page(chain, length):
        chain += found
    assert len(set(whole)) == len(whole)
    assert sorted(chain) == allowed.tolist()
    if there - len({item for _, item in said}) >= 12:
        assert chain == whole


def test_a_ruling_with_pins_alone_costs_the_others_nothing(recommender: Recommender) -> None:
    """Nothing is masked and no part is added."""
    says = ruled(recommender, pin("space-1", 1))
    ruling = says["ruling"]
    assert isinstance(ruling, Ruling)
    assert (len(ruling.hidden), len(ruling.lift)) == (0, 0)
    slate = recommender.recommend(viewer(recommender, **says))
    assert all("rules" not in item.parts for item in slate.items)
