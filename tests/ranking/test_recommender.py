"""The whole of ranking over a small world whose truth is known: viewers keep to one genre."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import worlds

from recsys.catalogue.times import from_us, to_us
from recsys.config import RankingSettings
from recsys.identity import NOTHING, Ordinals
from recsys.ranking import recommender as ranking
from recsys.ranking.block import Block, alike
from recsys.ranking.candidates import Boost, History, Query, Quota, Slate, Where
from recsys.ranking.filters import matches
from recsys.ranking.knowledge import FINDERS
from recsys.ranking.reasons import deeds
from recsys.ranking.recommender import Recommender
from recsys.ranking.sources import Alone
from recsys.snapshot import Artefacts

NOW = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def recommender(artefacts: Artefacts) -> Recommender:
    return Recommender.of(artefacts, RankingSettings())


def ordinals(recommender: Recommender, *ids: str) -> Ordinals:
    return recommender.items.ids.ordinals(ids)


def viewer(recommender: Recommender, genre: str, likes: int = 3, **query: object) -> Query:
    items = ordinals(recommender, *worlds.film_ids(genre)[:likes])
    history = History(items, np.ones(likes, dtype=np.float32), deeds(["like"] * likes))
    return Query(**{"at": NOW, "limit": 10, "history": history, "seen": items} | query)


def ids(slate: Slate) -> list[str]:
    return [item.item for item in slate.items]


def genres(recommender: Recommender, slate: Slate) -> list[str]:
    rows = ordinals(recommender, *ids(slate))
    return [recommender.items.data["categories"][int(row)].as_py()[0] for row in rows]


@pytest.mark.parametrize("genre", worlds.GENRES)
def test_a_viewer_gets_more_of_the_genre_and_nothing_seen(
    recommender: Recommender, genre: str
) -> None:
    slate = recommender.recommend(viewer(recommender, genre))
    assert genres(recommender, slate).count(genre) >= 9
    assert not set(ids(slate)) & set(worlds.film_ids(genre)[:3])
    assert slate.failed == ()


def test_the_parts_add_up_to_the_score_and_scores_never_rise(recommender: Recommender) -> None:
    boosts = (Boost(Where(categories=("Drama",)), 0.5),)
    slate = recommender.recommend(viewer(recommender, "Space", diversity=0.5, boosts=boosts))
    for item in slate.items:
        assert sum(item.parts.values()) == pytest.approx(item.score, abs=1e-5)
    scores = [item.score for item in slate.items]
    assert scores == sorted(scores, reverse=True)
    assert {"diversity", "boost"} <= set(slate.items[0].parts)


def with_weights_for_new_items(recommender: Recommender) -> Recommender:
    """One in which every fourth film is new."""
    own = np.where(np.arange(len(recommender.items)) % 4, 1, 0)
    facts = recommender.knowledge.facts.copy()
    facts["own"] = own
    facts.setflags(write=False)
    weights = {**recommender.weights, "new items": {"text": 2.0, "popular": 0.5, "unproven": -0.7}}
    knowledge = recommender.knowledge._replace(facts=facts)
    return replace(recommender, knowledge=knowledge, weights=weights)


def test_the_parts_of_new_and_of_known_items_add_up(recommender: Recommender) -> None:
    served = with_weights_for_new_items(recommender)
    slate = served.recommend(viewer(recommender, "Space", limit=40))
    new = served.knowledge.facts["own"][ordinals(recommender, *ids(slate))] == 0
    assert 0 < new.sum() < len(new)
    for item, is_new in zip(slate.items, new, strict=True):
        assert sum(item.parts.values()) == pytest.approx(item.score, abs=1e-5)
        assert item.parts["unproven"] == pytest.approx(-0.7 if is_new else 0)
        assert (item.parts["linear"] == 0) == is_new
        assert "unproven" not in item.reason


@pytest.mark.parametrize("query", [{}, {"context": np.array([0])}])
def test_new_items_have_weights_of_their_own_only_where_a_history_leads(
    recommender: Recommender, query: dict[str, Ordinals]
) -> None:
    asked = Query(at=NOW, limit=10, **query)
    served = with_weights_for_new_items(recommender).recommend(asked)
    assert [item.parts for item in served.items] == [
        item.parts for item in recommender.recommend(asked).items
    ]


def test_each_reason_names_something_the_viewer_did(recommender: Recommender) -> None:
    slate = recommender.recommend(viewer(recommender, "Family", likes=1))
    liked = recommender.items.titles(ordinals(recommender, worlds.film_ids("Family")[0]))[0]
    assert slate.items[0].reason == f"because you liked *{liked}*"


def test_a_newcomer_gets_what_is_popular(recommender: Recommender, artefacts: Artefacts) -> None:
    slate = recommender.recommend(Query(at=NOW, limit=5))
    assert len(slate.items) == 5
    assert slate.items[0].reason in {"popular right now", "trending right now", "a new arrival"}


def test_who_comes_back_is_served_by_weights_of_their_own_where_they_were_learned(
    artefacts: Artefacts,
) -> None:
    learned = {"history": {"linear": 1.0}, "returning": {"text": 1.0}}
    for weights, expected in ((learned, "text"), ({"history": learned["history"]}, "linear")):
        own = Recommender.of(replace(artefacts, weights=weights), RankingSettings())
        asked = viewer(own, "Crime", likes=4)
        an_hour_ago = replace(asked.history, newest=to_us(NOW - timedelta(hours=1)))
        slate = own.recommend(replace(asked, history=an_hour_ago))
        assert set(slate.items[0].parts) == {expected}
        assert set(own.recommend(asked).items[0].parts) == {"linear"}


def test_what_was_trending_long_ago_is_not_trending(artefacts: Artefacts) -> None:
    weights = {"newcomer": {"trending": 1.0, "popular": 0.0}}
    own = Recommender.of(replace(artefacts, weights=weights), RankingSettings())
    newest = from_us(artefacts.preference.popularity.as_of)
    last, after = newest + timedelta(days=7), newest + timedelta(days=7, seconds=1)
    assert own.recommend(Query(at=last, limit=5)).retrieved["trending"] > 0
    assert own.recommend(Query(at=after, limit=5)).retrieved["trending"] == 0
    by_name = frozenset({"trending"})
    one, other = (own.recommend(Query(at=at, limit=5, sources=by_name)) for at in (last, after))
    assert ids(one) == ids(other)


@pytest.mark.parametrize("limit", [1, 10, 57, 60, 500])
def test_the_slate_is_as_long_as_the_catalogue_allows(recommender: Recommender, limit: int) -> None:
    slate = recommender.recommend(viewer(recommender, "Crime", limit=limit))
    assert len(slate.items) == min(limit, 57), "60 films are shown, and 3 of them seen"
    assert len(set(ids(slate))) == len(slate.items)
    assert not set(ids(slate)) & worlds.NOT_SHOWN


def test_what_is_found_is_kept_or_removed(recommender: Recommender) -> None:
    excluded = ordinals(recommender, *worlds.film_ids("Crime")[3:6])
    query = viewer(recommender, "Crime", exclude=excluded)
    block, heard = Block((query,)), recommender.weights["history"]
    finders = {FINDERS.get(name, name) for name in recommender.sources if heard.get(name)}
    found = set()
    for source in finders:
        found |= set(Alone(source, recommender.knowledge, block).best(300).items.tolist())
    slate = recommender.recommend(replace(query, limit=1))
    kept = recommender.candidates(block).items
    removed = sum(slate.removed.values()) - slate.removed["unavailable"]
    assert len(found) - removed == len(set(kept.tolist()) & found)
    assert slate.removed["excluded"] == 3
    assert not set(kept.tolist()) & set(excluded.tolist())


CONDITIONS = [
    Where(categories=("Family",)),
    Where(categories=("Family", "Space"), without_categories=("Drama",)),
    Where(brands=("Studio 1", "nobody")),
    Where(without_brands=("Studio 0", "Studio 1", "Studio 2")),
    Where(price_min=10, price_max=12),
    Where(attributes=(("languages", ("fr",)), ("year", ("1991", "1992")))),
    Where(categories=("no such thing",)),
]


@pytest.mark.parametrize("where", CONDITIONS, ids=str)
def test_a_condition_keeps_exactly_what_brute_force_keeps(
    recommender: Recommender, where: Where
) -> None:
    rows = recommender.items.data.to_pylist()
    expected = {row["id"] for row in rows if holds(where, row)} - worlds.NOT_SHOWN
    everything = np.arange(len(rows))
    mask = matches(recommender.items, where, everything)
    assert {rows[n]["id"] for n in np.flatnonzero(mask)} - worlds.NOT_SHOWN == expected
    slate = recommender.recommend(
        viewer(recommender, "Crime", where=where, limit=500, seen=NOTHING)
    )
    assert set(ids(slate)) == expected


def holds(where: Where, row: dict) -> bool:
    import json

    attributes = json.loads(row["attributes"])
    price, brand, categories = row["price"], row["brand"], set(row["categories"])
    as_texts = {
        key: {str(v) for v in (value if isinstance(value, list) else [value])}
        for key, value in attributes.items()
    }
    return (
        (not where.categories or bool(categories & set(where.categories)))
        and not categories & set(where.without_categories)
        and (not where.brands or brand in where.brands)
        and brand not in where.without_brands
        and (where.price_min is None or (price is not None and price >= where.price_min))
        and (where.price_max is None or (price is not None and price <= where.price_max))
        and all(as_texts.get(key, set()) & set(values) for key, values in where.attributes)
    )


def test_the_best_of_a_narrow_part_is_still_personal(recommender: Recommender) -> None:
    where = Where(attributes=(("year", ("1990",)),))
    slate = recommender.recommend(viewer(recommender, "Space", where=where, limit=3))
    assert genres(recommender, slate) == ["Space"] * 3


@pytest.mark.parametrize("where", [Where(), Where(categories=("Crime", "Space"))])
def test_a_slate_under_a_quota_is_full_while_there_are_items(
    recommender: Recommender, where: Where
) -> None:
    """Four studios: of each at most two, whatever the viewer likes best."""
    asked = viewer(recommender, "Crime", limit=8, where=where, quota=Quota(brand=2), diversity=0.2)
    slate = recommender.recommend(asked)
    studios = [
        recommender.items.data["brand"][int(row)].as_py()
        for row in ordinals(recommender, *ids(slate))
    ]
    assert sorted(studios) == [f"Studio {n}" for n in range(4) for _ in range(2)]
    assert len(recommender.recommend(replace(asked, limit=20)).items) == 8, "no more are allowed"


def test_a_quota_reaches_for_what_nothing_leads_to(recommender: Recommender) -> None:
    narrow = replace(recommender, settings=RankingSettings(candidates=2, pool=3))
    asked = viewer(narrow, "Crime", limit=3, quota=Quota(category=1))
    assert sorted(genres(narrow, narrow.recommend(asked))) == sorted(worlds.GENRES)


def test_many_asked_together_get_what_each_gets_alone(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they set out from and whatever they ask for: nothing, much or little of the catalogue."""
    monkeypatch.setattr(ranking, "NARROW", 12)
    narrow = replace(recommender, settings=RankingSettings(candidates=5, pool=12))
    where = [Where(), *CONDITIONS]
    page = {"context": ordinals(recommender, "296")}
    asked = [
        viewer(narrow, genre, likes, at=NOW + timedelta(days=likes), diversity=diversity, **more)
        for genre, more in zip(worlds.GENRES, ({}, {}, page), strict=True)
        for likes in (0, 1, 4, 9)
        for diversity in (0.0, 0.4)
    ]
    asked = [replace(one, where=where[n % len(where)]) for n, one in enumerate(asked)]
    together: dict[int, Slate] = {}
    blocks = list(alike(asked, 7))
    assert len(blocks) == 4, "they differ in diversity alone"
    for places in blocks:
        slates = narrow.answer(Block([asked[place] for place in places]))
        together |= {place: slates.slate(n) for n, place in enumerate(places)}
    for place, query in enumerate(asked):
        assert together[place] == narrow.recommend(query)
    reasons = {name for slate in together.values() for name in slate.retrieved}
    assert {"condition", "cooccurrence"} <= reasons


@pytest.mark.parametrize("where", CONDITIONS, ids=str)
def test_what_sources_find_keeps_the_condition(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch, where: Where
) -> None:
    query = viewer(recommender, "Crime", where=where, limit=5)
    exact = recommender.recommend(query)
    monkeypatch.setattr(ranking, "NARROW", 0)
    searched = replace(recommender, settings=RankingSettings(candidates=5, pool=5))
    slate = searched.recommend(query)
    allowed = matches(recommender.items, where, ordinals(recommender, *ids(slate)))
    assert allowed.all()
    assert len(slate.items) == len(exact.items)


def test_a_slate_that_had_to_be_filled_says_from_where(recommender: Recommender) -> None:
    what_was_liked = frozenset({"again"})  # three films, and they are seen
    slate = recommender.recommend(viewer(recommender, "Crime", limit=40, sources=what_was_liked))
    assert len(slate.items) == 40
    assert sum(slate.widened.values()) > 0
    assert set(slate.widened) <= {"popular", "trending", "new", "catalogue"}
    assert recommender.recommend(viewer(recommender, "Crime", limit=5)).widened == {}


def test_a_given_list_is_ranked_and_nothing_is_added(recommender: Recommender) -> None:
    given = ordinals(recommender, "space-1", "family-1", "50", "hidden", "296")
    slate = recommender.recommend(viewer(recommender, "Crime", likes=2, seen=NOTHING, rerank=given))
    assert set(ids(slate)) == {"space-1", "family-1", "50", "296"}
    assert set(ids(slate)[:2]) == {"50", "296"}


def test_a_withdrawn_item_is_gone(recommender: Recommender) -> None:
    first = recommender.recommend(viewer(recommender, "Crime")).items[0].item
    withdrawn = ordinals(recommender, first)
    after = recommender.recommend(viewer(recommender, "Crime", withdrawn=withdrawn))
    assert first not in ids(after)
    assert len(after.items) == 10


def test_a_boost_moves_items_by_what_it_says(recommender: Recommender) -> None:
    plain = recommender.recommend(viewer(recommender, "Crime", limit=57))
    scores = {item.item: item.score for item in plain.items}
    buried = Boost(Where(categories=("Crime",)), -100.0)
    moved = recommender.recommend(viewer(recommender, "Crime", limit=57, boosts=(buried,)))
    assert "Crime" not in genres(recommender, moved)[:40]
    for item in moved.items:
        assert item.score - item.parts["boost"] == pytest.approx(scores[item.item], abs=1e-4)


@dataclass
class Broken:
    """An index that is out of order."""

    def search(self, *_: object) -> None:
        raise RuntimeError("out of order")


def test_a_failing_source_costs_its_part_and_not_the_slate(recommender: Recommender) -> None:
    text = recommender.spaces["text"]
    shaky = replace(
        recommender, spaces={**recommender.spaces, "text": replace(text, index=Broken())}
    )
    words = np.eye(1, text.card.dim, dtype=np.float32)[0]
    slate = shaky.recommend(viewer(shaky, "Crime", sought={"text": words}))
    assert slate.failed == ("text",)
    assert len(slate.items) == 10
    assert not any(item.parts["text"] for item in slate.items)


def test_items_on_the_page_steer_the_slate_and_are_not_in_it(recommender: Recommender) -> None:
    page = ordinals(recommender, "space-4")
    slate = recommender.recommend(Query(at=NOW, limit=10, context=page))
    assert genres(recommender, slate).count("Space") >= 9
    assert "space-4" not in ids(slate)
    assert slate.items[0].reason.endswith("*Space film 4*")


@pytest.mark.parametrize("source", ["text", "image"])
def test_one_source_alone_gives_its_own_order(recommender: Recommender, source: str) -> None:
    page = ordinals(recommender, "space-5")
    slate = recommender.recommend(Query(at=NOW, limit=5, context=page, sources=frozenset({source})))
    shown = ordinals(recommender, *(set(recommender.items.ids) - worlds.NOT_SHOWN - {"space-5"}))
    space, others = recommender.spaces[source], np.sort(shown)
    cosine = np.where(space.present[others], space.rows[others] @ space.rows[page[0]], -9)
    nearest = others[np.argsort(-cosine, kind="stable")[:5]]
    assert ids(slate) == recommender.items.ids.external(nearest)
    assert set(slate.retrieved) == {source}


def test_an_item_shown_again_is_not_its_own_reason(recommender: Recommender) -> None:
    """A shop may let viewed items return; what speaks for them is then the rest of the history."""
    slate = recommender.recommend(viewer(recommender, "Space", likes=4, seen=NOTHING, limit=30))
    for item in slate.items:
        title = recommender.items.titles(ordinals(recommender, item.item))[0]
        assert f"*{title}*" not in item.reason


def test_a_list_of_what_is_popular_gives_that_as_the_reason(recommender: Recommender) -> None:
    slate = recommender.recommend(Query(at=NOW, limit=60, sources=frozenset({"popular"})))
    assert {item.reason for item in slate.items} == {"popular right now"}
