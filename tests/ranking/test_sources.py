"""What each source says, one at a time, over a few items whose truth is known."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.config import IndexSettings
from recsys.embedding.encoder import EncoderCard, unit_rows
from recsys.embedding.vectors import VectorTable
from recsys.facts import NEVER, best_first
from recsys.identity import Floats, IdMap
from recsys.index.space import Space, build_space
from recsys.preference.pruning import loudest_first
from recsys.ranking.block import Block, Lists
from recsys.ranking.candidates import History, Query
from recsys.ranking.knowledge import (
    Again,
    Knowledge,
    Standing,
    content,
    item_weights,
    knowing,
)
from recsys.ranking.reasons import deeds
from recsys.ranking.sources import Alone

NOW = datetime(2025, 6, 1, tzinfo=UTC)
NOW_US = int(NOW.timestamp() * 1e6)
DAY = 86_400_000_000
W = csr_array(np.array([[0, 2, 1, 0], [3, 0, 0, 0], [0, 0, 0, 0], [0, 0, 4, 0]], dtype=np.float32))


def query(items: list[int], weights: list[float]) -> Query:
    history = History(
        np.array(items, dtype=np.int64),
        np.array(weights, dtype=np.float32),
        deeds(["purchase"] * len(items)),
    )
    return Query(at=NOW, limit=5, history=history)


@dataclass
class Asked:
    """What one source says to one query."""

    knowledge: Knowledge
    source: str
    asked: Query

    @property
    def alone(self) -> Alone:
        return Alone(self.source, self.knowledge, Block((self.asked,)))

    def best(self, limit: int) -> list[int]:
        return self.alone.best(limit).items.tolist()

    def scores(self, items: list[int]) -> Floats:
        return self.alone.scores(Lists.of([np.array(items)]))

    def because(self, items: list[int]) -> list[int]:
        return self.alone.because(Lists.of([np.array(items)])).tolist()


def rows(asked: Query, weights: csr_array = W, fading: float = 0.0) -> Asked:
    knowledge = knowing(weights.shape[0], linear=item_weights(loudest_first(weights), fading))
    return Asked(knowledge, "linear", asked)


def test_rows_add_up_with_the_weights_of_the_history() -> None:
    opinion = rows(query([0, 3], [1.0, 0.5]))
    scores = opinion.scores([0, 1, 2, 3])
    assert scores[:3] == pytest.approx([0, 2, 3])
    assert np.isnan(scores[3]), "an item that no row leads to is unknown, not worthless"
    assert opinion.best(10) == [2, 1]
    assert opinion.best(1) == [2]


def test_what_is_disliked_pushes_its_neighbours_down() -> None:
    opinion = rows(query([0, 3], [1.0, -1.0]))
    assert opinion.scores([1, 2]).tolist() == [2, -3]
    assert opinion.best(10) == [1], "a negative sum is never a suggestion"


def test_the_reason_is_the_seed_with_the_largest_part() -> None:
    assert rows(query([3, 0, 2], [0.5, 1.0, 1.0])).because([2, 1, 3, 0]) == [3, 0, -1, -1]


def test_an_unknown_viewer_gets_no_opinion_rather_than_zeros() -> None:
    for opinion in (rows(query([], [])), rows(query([2], [1.0]))):
        assert opinion.best(10) == []
        assert np.isnan(opinion.scores([0, 1])).all()
        assert opinion.because([0, 1]) == [-1, -1]


@pytest.mark.parametrize("alike", [True, False])
def test_rows_agree_with_the_dense_product_of_what_is_heard(alike: bool) -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(40, 40)) * (rng.random((40, 40)) < 0.4)
    history = rng.choice(40, 8, replace=False)
    strength = rng.choice([-0.7, 0.7], size=8) if alike else rng.normal(size=8)
    asked = query(history.tolist(), strength.tolist())
    opinion = rows(asked, csr_array(dense.astype(np.float32)))
    expected, most, loudest = np.zeros(40), np.zeros(40), np.full(40, -1)
    for seed, row, weight in zip(history, dense[history], strength, strict=True):
        heard = np.ceil(np.count_nonzero(row) * min(1, abs(weight) / strength.max()))
        largest = np.argsort(-np.abs(row), kind="stable")[: int(heard)]
        expected[largest] += weight * row[largest]
        louder = largest[weight * row[largest] > most[largest]]
        most[louder], loudest[louder] = weight * row[louder], seed
    if alike:
        assert expected == pytest.approx(strength @ dense[history])
    assert opinion.scores(list(range(40))) == pytest.approx(expected, abs=1e-5)
    best = [n for n in np.argsort(-expected, kind="stable") if expected[n] > 0]
    assert opinion.best(10) == best[:10]
    assert opinion.best(40) == best
    assert opinion.because(list(range(40))) == loudest.tolist()


def test_a_dislike_makes_no_like_less_heard() -> None:
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((40, 40)) < 0.3, rng.random((40, 40)), 0)
    dense[9] = 0
    W = csr_array(dense.astype(np.float32))
    likes = rows(query([1, 2, 3], [0.2, 0.2, 0.2]), W)
    both = rows(query([1, 9, 2, 3], [0.2, -1.0, 0.2, 0.2]), W)
    assert both.best(40) == likes.best(40)


def test_what_is_not_available_takes_no_places() -> None:
    weights = csr_array(np.array([[0, 4, 3, 2, 1], *[[0] * 5] * 4], dtype=np.float32))
    shown_from = np.array([0, NEVER, NEVER, 0, 0])
    known = {"linear": item_weights(weights, 0.0)}
    knowledge = knowing(5, {"shown_from": shown_from}, np.array([0, 9, 8, 7, 6]), **known)
    asked = query([0], [1.0])
    assert Asked(knowledge, "linear", asked).best(2) == [3, 4]
    assert Asked(knowledge, "new", asked).best(2) == [3, 4]


def test_popularity_lists_what_is_known_best_first() -> None:
    values = np.array([1, 0, 5, 0], dtype=np.float32)
    popular = Standing(best_first(values), NOW_US)
    opinion = Asked(
        knowing(4, popular=popular, values={"popular": values}), "popular", query([], [])
    )
    assert opinion.best(10) == [2, 0]
    assert opinion.scores([2, 1]).tolist() == [5, 0]


def test_new_items_come_newest_first_and_the_unpublished_not_at_all() -> None:
    published = np.array([NOW_US - 14 * DAY, NOW_US + DAY, NOW_US, NOW_US - 28 * DAY])
    opinion = Asked(knowing(4, published_at=published), "new", query([], []))
    assert opinion.best(10) == [2, 0, 3]
    assert opinion.scores([2, 0, 3]) == pytest.approx([1, 1 / 2, 1 / 3])
    assert np.isnan(opinion.scores([1])).all()


def test_a_like_weighs_less_for_every_newer_one() -> None:
    asked, fading = query([0, 3, 1], [1.0, 0.5, -1.0]), 0.7
    left = np.exp(-fading * np.arange(3)) * [1.0, 0.5, -1.0]
    scores = rows(asked, fading=fading).scores([0, 1, 2])
    assert scores == pytest.approx(left @ W.toarray()[[0, 3, 1]][:, :3])
    assert asked.seeds.weights.tolist() == [1.0, 0.5, -1.0], "what it was is kept for the reasons"


def test_what_is_on_the_page_does_not_fade_and_counts_as_much_as_the_whole_history() -> None:
    history = query([0, 3], [1.0, 1.0]).history
    page = Query(at=NOW, limit=5, history=history, context=np.array([1, 2]))
    of_history = np.exp([0.0, -1.0]) / np.exp([0.0, -1.0]).sum()
    weights = np.concatenate([[1, 1], of_history])
    scores = rows(page, fading=1.0).scores([0, 1, 2])
    assert scores == pytest.approx(weights @ W.toarray()[[1, 2, 0, 3]][:, :3])


def again(history: History, context: tuple[int, ...] = ()) -> Asked:
    rates = np.array([0.5, 0.1, 0.5, 0.2], dtype=np.float32)
    asked = Query(at=NOW, limit=5, history=history, context=np.array(context, dtype=np.int64))
    return Asked(knowing(4, again=Again(0.1, 1.0), values={"returns": rates}), "again", asked)


def test_what_is_bought_often_and_lately_is_wished_for_again() -> None:
    bought = query([2, 0, 3, 1], [1.0, 1.0, 0.0, -1.0]).history
    opinion = again(replace(bought, visits=np.array([1, 4, 2, 0], dtype=np.float32)))
    assert opinion.scores([0, 1, 2, 3]) == pytest.approx([2 * np.exp(-0.1), 0, 0.5, 0])
    assert opinion.best(10) == [0, 2], "what was disliked, or is not known to be liked, is not"
    assert opinion.because([2, 0, 1]) == [2, 0, -1]


def test_behind_a_page_the_reason_still_names_the_item_itself() -> None:
    opinion = again(query([2, 0, 3], [1.0, 1.0, 1.0]).history, context=(1, 2))
    assert opinion.because([0, 3]) == [0, 3]


def test_without_a_history_there_is_nothing_to_come_back_to() -> None:
    opinion = again(query([], []).history)
    assert np.isnan(opinion.scores([0, 1, 2, 3])).all()
    assert opinion.best(3) == []
    assert opinion.because([1]) == [-1]


@pytest.fixture
def space() -> Space:
    """Twenty items, of which the last has no vector."""
    ids = IdMap([f"{n:02}" for n in range(20)])
    rows = np.random.default_rng(0).normal(size=(19, 6)).astype(np.float32)
    card = EncoderCard("made for a test", "1", "text", 6, None, "")
    table = VectorTable(IdMap(list(ids)[:19]), unit_rows(rows), card)
    return build_space(ids, table, IndexSettings(neighbours=5))


def test_content_is_as_near_as_the_nearest_liked_item_less_what_has_faded(space: Space) -> None:
    asked = query([3, 7, 5], [1.0, -1.0, 0.2])
    opinion = Asked(knowing(20, text=content(space, fading=0.5)), "text", asked)
    expected = np.zeros(20)
    for position, seed in ((0, 3), (2, 5)):
        left = np.exp(-0.5 * position) * space.similarity[seed]
        near = space.neighbours[seed]
        expected[near] = np.where(expected[near], np.maximum(expected[near], left), left)
    scores = opinion.scores(list(range(20)))
    assert scores[:19] == pytest.approx(expected[:19], abs=1e-6)
    assert np.isnan(scores[19])
    best = [n for n in np.argsort(-expected, kind="stable") if expected[n] > 0]
    assert opinion.best(20) == best
    said = {n: opinion.because([n])[0] for n in best}
    for n, seed in said.items():
        assert n in space.neighbours[seed]


def test_a_taste_is_the_sum_of_what_was_liked_and_fades(space: Space) -> None:
    asked = query([3, 7, 5], [1.0, -1.0, 0.2])
    opinion = Asked(knowing(20, text=content(space, fading=0.5)), "text_taste", asked)
    taste = space.rows[3] + np.exp(-0.5 * 2) * space.rows[5]
    expected = space.rows[:19] @ taste / np.linalg.norm(taste)
    scores = opinion.scores(list(range(20)))
    assert scores[:19] == pytest.approx(expected, abs=0.01), "vectors are compared in few bits"
    assert np.isnan(scores[19])
    assert opinion.best(4) == [], "it judges what others find"


@pytest.mark.parametrize("history", [[], [19]])
def test_without_a_like_that_has_content_there_is_no_taste(
    space: Space, history: list[int]
) -> None:
    asked = query(history, [1.0] * len(history))
    opinion = Asked(knowing(20, text=content(space, 0.0)), "text_taste", asked)
    assert np.isnan(opinion.scores(list(range(20)))).all()
    assert opinion.best(5) == []
