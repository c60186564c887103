"""A ranker on top of the blend: exact, the same after saving, and never in the way."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import lightgbm
import numpy as np
import pytest
import worlds

from recsys.config import RankingSettings
from recsys.identity import Floats
from recsys.ranking.blend import STARTING_WEIGHTS
from recsys.ranking.block import Block
from recsys.ranking.candidates import Boost, History, Query, Slate, Where
from recsys.ranking.features import CONTEXTUAL, Features
from recsys.ranking.ranker import BASE, Lesson, Ranker, fit_ranker
from recsys.ranking.reasons import deeds
from recsys.ranking.recommender import Recommender
from recsys.snapshot import Artefacts

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def viewer(recommender: Recommender, genre: str, first: int = 0, **query: object) -> Query:
    items = recommender.items.ids.ordinals(worlds.film_ids(genre)[first : first + 4])
    history = History(items, np.ones(4, dtype=np.float32), deeds(["like"] * 4))
    return Query(**{"at": NOW, "limit": 20, "history": history, "seen": items} | query)


def lessons(recommender: Recommender, features: Features, sources: list[str]) -> list[Lesson]:
    """Viewers of every genre, who like the dearest films of whatever genre."""
    made = []
    for genre in worlds.GENRES:
        for first in range(16):
            query = viewer(recommender, genre, first)
            found = recommender.candidates(Block((query,)))
            blended = found.scores["linear"] * 0
            table = features.table(sources, query, found, blended)
            made.append(Lesson(table, blended, recommender.items.price[found.items] > 15))
    return made


@pytest.fixture(scope="module")
def model(artefacts: Artefacts) -> str:
    recommender = Recommender.of(artefacts, RankingSettings())
    sources = sorted(recommender.sources)
    features = Features.of(artefacts.items, artefacts.preference.popularity)
    return fit_ranker(sources, lessons(recommender, features, sources), seed=0)


@pytest.fixture(scope="module")
def blend(artefacts: Artefacts) -> Recommender:
    return Recommender.of(artefacts, RankingSettings())


@pytest.fixture(scope="module")
def ranked(artefacts: Artefacts, model: str) -> Recommender:
    return Recommender.of(replace(artefacts, ranker=model), RankingSettings())


@pytest.fixture(scope="module")
def table(ranked: Recommender) -> Floats:
    assert ranked.ranker is not None
    query = viewer(ranked, "Space")
    found = ranked.candidates(Block((query,)))
    return ranked.ranker.judge(query, found, np.zeros(len(found.items), np.float32)).table


def ids(slate: Slate) -> list[str]:
    return [item.item for item in slate.items]


def test_contributions_add_up_to_the_score(ranked: Recommender, table: Floats) -> None:
    assert ranked.ranker is not None
    parts = ranked.ranker.contributions(table)
    scores = ranked.ranker.scores(table)
    assert np.ptp(scores) > 0.1
    assert sum(parts.values()) == pytest.approx(scores, rel=1e-6)
    assert {"price", BASE} <= parts.keys() <= {*ranked.ranker.sources, *CONTEXTUAL, BASE}


def test_saved_and_read_back_it_gives_equal_scores(ranked: Recommender, table: Floats) -> None:
    assert ranked.ranker is not None
    text = ranked.ranker.booster.model_to_string()
    again = Ranker.read(text, ranked.ranker.features)
    assert again.sources == ranked.ranker.sources
    assert again.scores(table).tolist() == ranked.ranker.scores(table).tolist()


def test_the_same_lessons_give_the_same_ranker(
    artefacts: Artefacts, blend: Recommender, model: str
) -> None:
    sources = sorted(blend.sources)
    features = Features.of(blend.items, artefacts.preference.popularity)
    assert fit_ranker(sources, lessons(blend, features, sources), seed=0) == model


def test_the_trees_set_out_from_where_the_blend_ends() -> None:
    """Where the blend has it all right by a wide margin there is nothing to add; where it knows nothing, much."""
    rng = np.random.default_rng(0)

    def added(margin: float) -> float:
        made = []
        for _ in range(30):
            table = rng.normal(size=(40, 1 + len(CONTEXTUAL))).astype(np.float32)
            chosen = table[:, 0] > 1
            made.append(Lesson(table, (margin * chosen).astype(np.float32), chosen))
        booster = lightgbm.Booster(model_str=fit_ranker(["text"], made, seed=0))
        return float(np.ptp(booster.predict(made[0].table)))

    assert added(50.0) < 0.1
    assert added(0.0) > 1


def test_many_threads_get_what_one_gets(ranked: Recommender) -> None:
    queries = [viewer(ranked, genre, n) for genre in worlds.GENRES for n in range(16)] * 2
    alone = [ranked.recommend(query) for query in queries]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ranked.recommend, queries)) == alone


def test_features_that_are_not_ours_are_refused(ranked: Recommender, model: str) -> None:
    assert ranked.ranker is not None
    with pytest.raises(ValueError, match="cost"):
        Ranker.read(model.replace(" price ", " cost "), ranked.ranker.features)


def test_it_reorders_the_slate_and_every_part_is_told(
    ranked: Recommender, blend: Recommender
) -> None:
    boosts = (Boost(Where(categories=("Drama",)), 0.5),)
    query = viewer(ranked, "Space", boosts=boosts, diversity=0.2)
    slate, plain = ranked.recommend(query), blend.recommend(query)
    assert slate.failed == ()
    assert ids(slate) != ids(plain)
    for item in slate.items:
        assert sum(item.parts.values()) == pytest.approx(item.score, rel=1e-6)
    assert {"price", BASE, "boost", "diversity", "linear"} <= slate.items[0].parts.keys()
    assert "ranker" not in slate.items[0].parts
    scores = [item.score for item in slate.items]
    assert scores == pytest.approx(sorted(scores, reverse=True), abs=1e-5)
    assert slate.items[0].reason.startswith("because you liked")


def test_a_score_is_that_of_the_blend_and_what_the_trees_add(
    ranked: Recommender, blend: Recommender
) -> None:
    assert ranked.ranker is not None
    query = viewer(ranked, "Crime", limit=56)
    plain = {item.item: item.score for item in blend.recommend(query).items}
    found = ranked.candidates(Block((query,)))
    order = ranked.items.ids.external(found.items)
    scores = np.array([plain[key] for key in order], dtype=np.float32)
    lift = ranked.ranker.judge(query, found, scores).scores
    expected = dict(zip(order, scores + lift, strict=True))
    served = {item.item: item.score for item in ranked.recommend(query).items}
    assert served == pytest.approx(expected, abs=1e-4)


def test_what_the_trees_cannot_tell_apart_keeps_the_blends_order(
    artefacts: Artefacts, blend: Recommender
) -> None:
    """All features are alike: there is nothing to split on."""
    features = Features.of(blend.items, artefacts.preference.popularity)
    query = viewer(blend, "Crime")
    found = blend.candidates(Block((query,)))
    blended = np.zeros(len(found.items), dtype=np.float32)
    table = np.zeros_like(features.table(["linear"], query, found, blended))
    alike = Lesson(table, blended, found.items == found.items[3])
    lame = fit_ranker(["linear"], [alike], seed=0)
    served = Recommender.of(replace(artefacts, ranker=lame), RankingSettings()).recommend(query)
    assert ids(served) == ids(blend.recommend(query))


ELSEWHERE: list[Callable[[Recommender], Query]] = [
    lambda _: Query(at=NOW, limit=10),
    lambda r: viewer(r, "Space", context=np.array([3])),
    lambda r: viewer(r, "Space", sought={"text": r.spaces["text"].rows[0]}),
    lambda r: viewer(r, "Space", sources=frozenset({"text", "popular"})),
]


@pytest.mark.parametrize("ask", ELSEWHERE, ids=["newcomer", "page", "search", "chosen sources"])
def test_elsewhere_the_blend_ranks_alone(
    ranked: Recommender, blend: Recommender, ask: Callable[[Recommender], Query]
) -> None:
    assert ranked.recommend(ask(ranked)) == blend.recommend(ask(blend))


class Fails:
    """A booster that is out of order: at once, or only when it is to explain itself."""

    def __init__(self, working: object, scores: bool) -> None:
        self.working, self.scores = working, scores

    def predict(self, table: Floats, **asked: object) -> Floats:
        if self.scores and "raw_score" in asked:
            return self.working.predict(table, **asked)  # type: ignore[attr-defined, no-any-return]
        raise RuntimeError("out of order")


def failing(ranked: Recommender, scores: bool) -> Recommender:
    assert ranked.ranker is not None
    booster = Fails(ranked.ranker.booster, scores)
    return replace(ranked, ranker=replace(ranked.ranker, booster=booster))  # type: ignore[arg-type]


def test_one_that_raises_leaves_the_slate_to_the_blend_and_is_named(
    ranked: Recommender, blend: Recommender
) -> None:
    query = viewer(ranked, "Space")
    slate = failing(ranked, scores=False).recommend(query)
    assert slate.failed == ("ranker",)
    assert slate.items == blend.recommend(query).items


def test_one_that_cannot_explain_itself_is_one_part_of_the_score(ranked: Recommender) -> None:
    query = viewer(ranked, "Space")
    slate, sound = failing(ranked, scores=True).recommend(query), ranked.recommend(query)
    assert slate.failed == ("ranker",)
    assert ids(slate) == ids(sound)
    for item, same in zip(slate.items, sound.items, strict=True):
        assert "ranker" in item.parts
        assert item.score == pytest.approx(same.score, abs=1e-5)


def test_a_slate_that_nothing_is_left_for_is_empty(ranked: Recommender) -> None:
    nowhere = Where(categories=("no such thing",))
    assert ranked.recommend(viewer(ranked, "Space", where=nowhere)).items == ()


def test_sources_that_the_blend_switched_off_still_speak_to_it(
    artefacts: Artefacts, model: str
) -> None:
    """With one source in the blend, its scores are still those that it was taught with."""
    weights = {"history": {"linear": 1.0}}
    alone = Recommender.of(replace(artefacts, ranker=model, weights=weights), RankingSettings())
    assert alone.ranker is not None
    query = viewer(alone, "Space", limit=3)
    slate = alone.recommend(query)
    assert set(slate.retrieved) == {"linear"}
    heard = {"linear"} | {n for n in slate.items[0].parts if n in STARTING_WEIGHTS["history"]}
    assert heard > {"linear"}
    found = alone.candidates(Block((query,)))
    blended = found.scores["linear"]
    blended = ((blended - blended.mean()) / blended.std()).astype(np.float32)
    expected = blended + alone.ranker.judge(query, found, blended).scores
    best = found.items[np.argsort(-expected, kind="stable")[:3]]
    assert ids(slate) == alone.items.ids.external(best)
