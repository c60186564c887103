"""A slate shows one of each group of near-duplicates, and nothing of a group that is excluded or on the page."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.compiling import fixed
from recsys.config import RankingSettings
from recsys.facts import Groups
from recsys.identity import ABSENT, Floats, Ordinals
from recsys.index.duplicates import Duplicates
from recsys.index.space import coded
from recsys.ranking import kernels
from recsys.ranking.block import Block, Lists, alike, ends
from recsys.ranking.candidates import History, Query, Quota, Where
from recsys.ranking.diversity import choose
from recsys.ranking.knowledge import NO_CONTENT
from recsys.ranking.reasons import deeds
from recsys.ranking.recommender import Recommender
from recsys.snapshot import Artefacts

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def drawn(rng: np.random.Generator, count: int, kinds: int) -> Duplicates:
    """Groups of any size among so many items; fewer kinds, larger groups."""
    labels = rng.integers(0, kinds, count)
    alone = rng.random(count) < 0.3
    labels[alone] = kinds + np.flatnonzero(alone)
    size = np.bincount(labels)[labels]
    return Duplicates.of(labels, np.flatnonzero(size > 1))


def one_of_each(items: Sequence[int], duplicates: Duplicates) -> bool:
    groups = duplicates.group[np.array(items, dtype=np.int64)]
    groups = groups[groups != ABSENT]
    return len(groups) == len(set(groups.tolist()))


@settings(deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([0.0, 0.7]),
    st.sampled_from([Quota(), Quota(brand=2)]),
)
def test_only_the_best_of_each_group_competes_in_each_list(
    seed: int, strength: float, quota: Quota
) -> None:
    """The choice is that among what is left when all but the best of each group are taken out beforehand."""
    rng = np.random.default_rng(seed)
    count = 60
    duplicates = drawn(rng, count, int(rng.integers(1, 40)))
    lists = [rng.permutation(count)[: rng.integers(0, count)] for _ in range(3)]
    every = Lists.of(lists)
    scores = np.round(rng.normal(size=len(every.items)), 1).astype(np.float32)  # with ties
    scores[rng.random(len(scores)) < 0.1] = np.nan
    vectors = rng.normal(size=(count, 4)).astype(np.float32)
    codes, scale = coded(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    near = NO_CONTENT._replace(codes=fixed(codes), scale=scale)
    brands = rng.integers(0, 4, count).astype(np.int32)
    groups = Groups(fixed(ends([1] * count)), fixed(brands), 4, 4) if quota else None

    best = np.ones(len(every.items), dtype=bool)
    for first, last in zip(every.starts, every.starts[1:], strict=False):
        finite = [k for k in range(first, last) if np.isfinite(scores[k])]
        met: set[int] = set()
        for k in sorted(finite, key=lambda k: (-scores[k], every.items[k])):
            group = int(duplicates.group[every.items[k]])
            best[k] = group == ABSENT or group not in met
            met.add(group)
    left = np.flatnonzero(best)
    fewer = Lists(np.searchsorted(left, every.starts), every.items[left])

    def chosen(
        items: Lists, values: Floats, told: Duplicates | None
    ) -> list[list[tuple[int, float]]]:
        picks, _, total = choose(items, values[None], 10, strength, near, groups, quota, told)
        places = list(zip(items.items[picks.items].tolist(), total.tolist(), strict=True))
        return [places[a:b] for a, b in zip(picks.starts, picks.starts[1:], strict=False)]

    slates = chosen(every, scores, duplicates)
    assert slates == chosen(fewer, scores[left], None)
    assert all(one_of_each([item for item, _ in slate], duplicates) for slate in slates)


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_items_are_counted_once_a_group(seed: int) -> None:
    rng = np.random.default_rng(seed)
    duplicates = drawn(rng, 40, int(rng.integers(1, 30)))
    lists = [rng.permutation(40)[: rng.integers(0, 40)] for _ in range(4)]
    every = Lists.of(lists)
    found = kernels.distinct(every.starts, every.items, duplicates.group)
    assert found.tolist() == [len(duplicates.first_of_each(items)) for items in lists]


def with_groups(artefacts: Artefacts, duplicates: Duplicates) -> Recommender:
    """One for which these are the near-duplicates."""
    found = Recommender.of(artefacts, RankingSettings())
    return replace(found, duplicates=duplicates, sieve=replace(found.sieve, duplicates=duplicates))


def shown(recommender: Recommender, query: Query) -> list[int]:
    ids = [place.item for place in recommender.recommend(query).items]
    return recommender.items.ids.ordinals(ids).tolist()


def asked(recommender: Recommender, rng: np.random.Generator) -> list[Query]:
    """Viewers, newcomers, pages, lists, conditions, quotas and long slates."""
    count = len(recommender.items)

    def some(most: int) -> Ordinals:
        return rng.permutation(count)[: rng.integers(1, most)]

    liked = some(8)
    history = History(liked, np.ones(len(liked), np.float32), deeds(["like"] * len(liked)))
    crime = Where(categories=("Crime",))
    return [
        Query(NOW, 10),
        Query(NOW, 10, history=history, seen=liked),
        Query(NOW, 10, history=history, exclude=some(5), diversity=0.6),
        Query(NOW, 10, context=some(4)),
        Query(NOW, 10, context=some(2), sources=frozenset({"text"})),
        Query(NOW, 6, sources=frozenset({"popular"})),
        Query(NOW, 50, history=history),
        Query(NOW, 500),
        Query(NOW, 9, where=crime),
        Query(NOW, 25, where=crime, context=some(2)),
        Query(NOW, 9, history=history, quota=Quota(brand=3)),
        Query(NOW, 30, quota=Quota(category=20), diversity=0.3),
    ]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31))
def test_no_slate_shows_two_of_a_group_and_each_is_as_long_as_can_be(
    artefacts: Artefacts, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    count = len(artefacts.items)
    duplicates = drawn(rng, count, int(rng.integers(1, 60)))
    recommender = with_groups(artefacts, duplicates)
    for query in asked(recommender, rng):
        found = shown(recommender, query)
        assert one_of_each(found, duplicates)
        out = duplicates.with_others(np.concatenate([query.exclude, query.context]))
        assert not set(found) & set(out.tolist())
        may = set(recommender.sieve.allowed(Block((query,)))[0].items.tolist() or range(count))
        may -= {*out.tolist(), *query.seen.tolist()}
        may -= set(artefacts.items.ids.ordinals(sorted(worlds.NOT_SHOWN)).tolist())  # type: ignore[type-var]
        most = len(duplicates.first_of_each(np.array(sorted(may), dtype=np.int64)))
        assert len(found) == min(query.limit, most) or (query.quota and len(found) < query.limit)


def test_a_slate_is_filled_up_with_others_where_what_is_found_is_alike(
    artefacts: Artefacts,
) -> None:
    """The 16 found are of one group, as is what would be the first to fill up, and then every two are alike."""
    near = artefacts.spaces["text"].nearest[5][:20]
    most_liked = artefacts.facts.popular
    rest = most_liked[~np.isin(most_liked, [5, *near])]
    labels = np.arange(len(artefacts.items)) + len(rest)
    labels[near] = labels[rest[:10]] = labels[near[0]]
    labels[rest[10:]] = np.arange(len(rest) - 10) // 2
    size = np.bincount(labels)[labels]
    recommender = with_groups(artefacts, Duplicates.of(labels, np.flatnonzero(size > 1)))
    recommender = replace(recommender, settings=RankingSettings(candidates=1, pool=1))
    slate = recommender.recommend(Query(NOW, 8, context=np.array([5]), sources=frozenset({"text"})))
    assert slate.retrieved == {"text": 16}
    assert slate.widened == {"popular": 7}
    found = recommender.items.ids.ordinals([place.item for place in slate.items])
    assert len(found) == 8 and one_of_each(found.tolist(), recommender.duplicates)


def test_a_block_is_answered_as_each_alone(artefacts: Artefacts) -> None:
    rng = np.random.default_rng(4)
    recommender = with_groups(artefacts, drawn(rng, len(artefacts.items), 25))
    queries = [query for _ in range(6) for query in asked(recommender, rng)]
    for places in alike(queries):
        together = recommender.answer(Block([queries[place] for place in places]))
        for n, place in enumerate(places):
            one = recommender.recommend(queries[place])
            assert [i.item for i in together.slate(n).items] == [i.item for i in one.items]


def test_a_rerank_keeps_all_items_that_are_given(artefacts: Artefacts) -> None:
    labels = np.repeat(np.arange(2), [12, len(artefacts.items) - 12])
    recommender = with_groups(artefacts, Duplicates.of(labels, np.arange(12)))
    given = np.flatnonzero(artefacts.items.available)[:12]
    query = Query(NOW, 12, rerank=given[1:], context=given[:1], exclude=given[1:2])
    assert sorted(shown(recommender, query)) == sorted(given[2:].tolist())


@pytest.mark.parametrize("sources", [None, frozenset({"text"})])
def test_where_nothing_is_alike_nothing_changes(
    artefacts: Artefacts, sources: frozenset[str] | None
) -> None:
    plain = Recommender.of(artefacts, RankingSettings())
    none = Duplicates.of(np.arange(len(artefacts.items)), np.empty(0, dtype=np.int64))
    query = Query(NOW, 20, context=np.array([3]), sources=sources)
    assert plain.recommend(query) == with_groups(artefacts, none).recommend(query)
