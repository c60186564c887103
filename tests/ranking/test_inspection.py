"""A slate taken apart agrees with the slate: the same candidates and parts, and as many items at each filter."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

import numpy as np
import pytest
import worlds

from recsys.catalogue.rule import KeptRule
from recsys.config import RankingSettings
from recsys.identity import NOTHING, Ordinals
from recsys.index.duplicates import Duplicates
from recsys.ranking.candidates import Boost, History, Query, Quota, Where
from recsys.ranking.filters import on_sale
from recsys.ranking.reasons import deeds
from recsys.ranking.recommender import Recommender
from recsys.ranking.rules import Rules
from recsys.snapshot import Artefacts

NOW = datetime(2026, 7, 1, tzinfo=UTC)

numbers = count(1)


def alike_in_pairs(size: int) -> Duplicates:
    """Every fifth item and the next one are near-duplicates."""
    labels = np.arange(size) - (np.arange(size) % 5 == 1)
    return Duplicates.of(labels, np.flatnonzero(np.bincount(labels)[labels] > 1))


@pytest.fixture(scope="module", params=["all of a small shop", "a few of each source"])
def recommender(artefacts: Artefacts, request: pytest.FixtureRequest) -> Recommender:
    few = request.param.startswith("a few")
    settings = RankingSettings(candidates=6, pool=12) if few else RankingSettings()
    found = Recommender.of(artefacts, settings)
    duplicates = alike_in_pairs(len(found.items))
    return replace(found, duplicates=duplicates, sieve=replace(found.sieve, duplicates=duplicates))


def rule(action: str, **said: object) -> KeptRule:
    given = {"name": action, "action": action, "created_at": NOW, "updated_at": NOW}
    return KeptRule.model_validate(given | {"id": next(numbers)} | said)


def ordinals(recommender: Recommender, *ids: str) -> Ordinals:
    return np.sort(recommender.items.ids.ordinals(ids))


def queries(recommender: Recommender) -> Iterator[Query]:
    """Viewers, newcomers, pages, searches and given lists, with all that can take an item out."""
    kept = [
        rule("exclude", where={"brands": ["Studio 1"]}),
        rule("boost", items=["space-3", "space-4"], by=2),
        rule("pin", items=["family-9"], place=2),
    ]
    about = (recommender.items, recommender.lookup, recommender.duplicates)
    ruling = Rules(*about, kept).at(NOW, "recommendations")
    assert ruling is not None
    ruled = {"ruling": ruling, "pins": ruling.pins}
    sought = {"text": recommender.spaces["text"].rows[7].astype(np.float32)}
    for genre in worlds.GENRES:
        liked = ordinals(recommender, *worlds.film_ids(genre)[:4])
        seen = ordinals(recommender, *worlds.film_ids(genre)[:9], "family-1", "hidden")
        gone = ordinals(recommender, *worlds.film_ids(genre)[7:13], "expired")
        some = ordinals(recommender, *worlds.film_ids(genre)[12:15], "tomorrow")
        history = History(liked, np.ones(4, np.float32), deeds(["like"] * 4))
        viewer = Query(NOW, 5, history=history, seen=seen, withdrawn=gone, exclude=some)
        yield replace(viewer, seen=NOTHING, withdrawn=NOTHING, exclude=NOTHING)
        yield viewer
        yield replace(viewer, **ruled)
        yield replace(viewer, **ruled, diversity=0.5, limit=20)
        yield replace(viewer, where=Where(categories=("Crime",)), **ruled)
        yield replace(viewer, where=Where(categories=("Drama",)), limit=2)
        yield replace(viewer, quota=Quota(brand=1), limit=4)
        yield replace(viewer, boosts=(Boost(Where(brands=("Studio 2",)), 1.5),), limit=30)
        yield replace(viewer, context=liked[:1])
        yield replace(viewer, sought=sought, **ruled)
        given = np.unique(np.concatenate([liked, gone, some, seen[:2], [0, 20, 40]]))
        yield replace(viewer, rerank=given, **ruled)
        yield replace(viewer, rerank=given, seen=NOTHING, where=Where(categories=("Drama",)))
        yield replace(viewer, history=replace(history, weights=-history.weights))
    yield Query(NOW, 10)
    yield Query(NOW, 10, sources=frozenset({"popular"}), withdrawn=ordinals(recommender, "296"))
    yield Query(NOW, 500, **ruled)


def test_as_many_items_are_told_of_each_filter_as_the_account_counts(
    recommender: Recommender,
) -> None:
    told = dict.fromkeys(("unavailable", "excluded", "seen", "where", "rules"), 0)
    for query in queries(recommender):
        found = recommender.inspect(query)
        removed = {name: len(items) for name, items in found.removed.items()}
        assert removed == recommender.recommend(query).removed
        told = {name: told[name] + removed[name] for name in told}
    assert all(told.values()), "each filter took something out"


def test_what_a_filter_took_out_is_what_it_is_for_and_no_candidate(
    recommender: Recommender,
) -> None:
    for query in queries(recommender):
        found = recommender.inspect(query)
        removed = found.removed
        assert not np.isin(np.concatenate(list(removed.values())), found.items).any()
        gone = removed["unavailable"]
        there = on_sale(recommender.items, NOW, gone)
        assert np.isin(gone[there], query.withdrawn).all()
        given = np.concatenate([query.exclude, query.context])
        alike = given if query.rerank is not None else recommender.duplicates.with_others(given)
        assert np.isin(removed["excluded"], alike).all()
        assert np.isin(removed["seen"], query.seen).all()
        hidden = query.ruling.hidden if query.ruling else np.zeros(len(recommender.items), bool)
        assert hidden[removed["rules"]].all()


def test_the_best_candidates_are_the_slate(recommender: Recommender) -> None:
    for query in queries(recommender):
        found, slate = recommender.inspect(query), recommender.recommend(query)
        assert len(set(found.items.tolist())) == len(found.items)
        assert (np.diff(found.scores) <= 0).all()
        assert sum(found.parts.values()) == pytest.approx(found.scores, abs=1e-4)
        place = {key: n for n, key in enumerate(recommender.items.ids.external(found.items))}
        shown = [item for item in slate.items if item.reason != "picked by the shop"]
        for item in shown:
            parts = {name: part[place[item.item]] for name, part in found.parts.items()}
            own = {name: part for name, part in item.parts.items() if name != "diversity"}
            assert own == pytest.approx({name: parts[name] for name in own}, abs=1e-5)
        if query.diversity or query.quota or query.pins:
            continue
        first = np.arange(len(found.items))
        if query.rerank is None:
            first = recommender.duplicates.first_of_each(found.items)
        best = recommender.items.ids.external(found.items[first[: query.limit]])
        assert [item.item for item in shown] == best


def test_every_candidate_was_found_by_a_source_unless_it_was_given_or_filled_up(
    recommender: Recommender,
) -> None:
    for query in queries(recommender):
        found, slate = recommender.inspect(query), recommender.recommend(query)
        by = sum(mask.astype(int) for mask in found.found_by.values())
        if not slate.widened and slate.retrieved.keys() <= found.found_by.keys():
            assert query.quota or (by > 0).all()
        for name, mask in found.found_by.items():
            assert mask.sum() <= slate.retrieved.get(name, 0)


def test_who_is_heard_is_told_with_the_weights(recommender: Recommender) -> None:
    learned = {"newcomer": {"popular": 0.7, "trending": 0.0}, "history": {"linear": 1.0}}
    own = replace(recommender, weights={**recommender.weights, **learned})
    assert own.inspect(Query(NOW, 5)).known == {"popular": 0.7}
    history = History(np.arange(4), np.ones(4, np.float32), deeds(["like"] * 4))
    taught = replace(own, weights={**own.weights, "new items": {"text": 0.4, "unproven": -1}})
    found = taught.inspect(Query(NOW, 5, history=history))
    assert (found.known, found.new) == ({"linear": 1.0}, {"text": 0.4})
