from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.config import IndexSettings
from recsys.embedding.encoder import EncoderCard, unit_rows
from recsys.embedding.vectors import VectorTable
from recsys.identity import Floats, IdMap, Ordinals
from recsys.index.space import Space, build_space
from recsys.ranking.block import Block, Lists, Opinion, Source
from recsys.ranking.candidates import History, Query
from recsys.ranking.sources import (
    EVERY,
    AgainSource,
    NewSource,
    RowSource,
    StandingSource,
    TasteSource,
)

NOW = datetime(2025, 6, 1, tzinfo=UTC)
W = csr_array(np.array([[0, 2, 1, 0], [3, 0, 0, 0], [0, 0, 0, 0], [0, 0, 4, 0]], dtype=np.float32))
KNOWN = np.array([True, True, True, False])


def query(items: list[int], weights: list[float]) -> Query:
    history = History(
        np.array(items, dtype=np.int64),
        np.array(weights, dtype=np.float32),
        ("purchase",) * len(items),
    )
    return Query(at=NOW, limit=5, history=history)


@dataclass
class Asked:
    """What a source says to one query."""

    opinion: Opinion

    def best(self, limit: int) -> Ordinals:
        return self.opinion.best(limit, EVERY).items

    def scores(self, items: Ordinals) -> Floats:
        return self.opinion.scores(Lists.of([items]))

    def because(self, items: Ordinals) -> Ordinals:
        return self.opinion.because(Lists.of([items]), np.ones(len(items), dtype=bool))


def ask(source: Source, asked: Query) -> Asked:
    return Asked(source.consider(Block((asked,))))


def test_rows_add_up_with_the_weights_of_the_history() -> None:
    opinion = ask(RowSource("rows", W, KNOWN), query([0, 3], [1.0, 0.5]))
    scores = opinion.scores(np.array([0, 1, 2, 3]))
    assert scores[:3] == pytest.approx([0, 2, 3])
    assert np.isnan(scores[3]), "an item that no row leads to is unknown, not worthless"
    assert opinion.best(10).tolist() == [2, 1]
    assert opinion.best(1).tolist() == [2]


def test_what_is_disliked_pushes_its_neighbours_down() -> None:
    opinion = ask(RowSource("rows", W, KNOWN), query([0, 3], [1.0, -1.0]))
    assert opinion.scores(np.array([1, 2])).tolist() == [2, -3]
    assert opinion.best(10).tolist() == [1], "a negative sum is never a suggestion"


def test_the_reason_is_the_seed_with_the_largest_part() -> None:
    opinion = ask(RowSource("rows", W, KNOWN), query([3, 0, 2], [0.5, 1.0, 1.0]))
    assert opinion.because(np.array([2, 1, 3, 0])).tolist() == [0, 1, -1, -1]


def test_an_unknown_viewer_gets_no_opinion_rather_than_zeros() -> None:
    for opinion in (
        ask(RowSource("rows", W, KNOWN), query([], [])),
        ask(RowSource("rows", W, KNOWN), query([2], [1.0])),
    ):
        assert opinion.best(10).tolist() == []
        assert np.isnan(opinion.scores(np.array([0, 1]))).all()
        assert opinion.because(np.array([0, 1])).tolist() == [-1, -1]


def test_rows_agree_with_the_dense_product() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(40, 40)) * (rng.random((40, 40)) < 0.2)
    weights = csr_array(dense.astype(np.float32))
    history, strength = rng.choice(40, 8, replace=False), rng.normal(size=8)
    opinion = ask(
        RowSource("rows", weights, np.ones(40, bool)), query(history.tolist(), strength.tolist())
    )
    expected = strength @ dense[history]
    assert opinion.scores(np.arange(40)) == pytest.approx(expected, abs=1e-5)
    best = [n for n in np.argsort(-expected, kind="stable") if expected[n] > 0][:10]
    assert opinion.best(10).tolist() == best


def test_popularity_lists_what_is_known_best_first() -> None:
    values = np.array([1, np.nan, 5, 0], dtype=np.float32)
    opinion = ask(StandingSource("popular", values), query([], []))
    assert opinion.best(10).tolist() == [2, 0]
    assert opinion.scores(np.array([2, 1]))[0] == 5
    assert np.isnan(opinion.scores(np.array([1]))).all()


def test_new_items_come_newest_first_and_the_unpublished_not_at_all() -> None:
    now = int(NOW.timestamp() * 1e6)
    day = 86_400_000_000
    opinion = ask(
        NewSource("new", np.array([now - 14 * day, now + day, now, now - 28 * day]), 14),
        query([], []),
    )
    assert opinion.best(10).tolist() == [2, 0, 3]
    assert opinion.scores(np.array([2, 0, 3])) == pytest.approx([1, 1 / 2, 1 / 3])
    assert np.isnan(opinion.scores(np.array([1]))).all()


def test_a_like_weighs_less_for_every_newer_one() -> None:
    asked, fading = query([0, 3, 1], [1.0, 0.5, -1.0]), 0.7
    left = np.exp(-fading * np.arange(3)) * [1.0, 0.5, -1.0]
    opinion = ask(RowSource("rows", W, KNOWN, fading), asked)
    assert opinion.scores(np.array([0, 1, 2])) == pytest.approx(
        left @ W.toarray()[[0, 3, 1]][:, :3]
    )
    assert asked.seeds.weights.tolist() == [1.0, 0.5, -1.0], "what it was is kept for the reasons"


def test_what_is_on_the_page_does_not_fade() -> None:
    history = query([0, 3], [1.0, 1.0]).history
    page = Query(at=NOW, limit=5, history=history, context=np.array([1, 2]))
    block = Block((page,))
    weights = block.tastes(1.0)
    assert block.seeds.items.tolist() == [1, 2, 0, 3]
    assert weights[:2].tolist() == [1, 1]
    assert weights[2:].sum() == pytest.approx(1)
    assert weights[3] / weights[2] == pytest.approx(np.exp(-1))


def again(history: History, context: tuple[int, ...] = ()) -> tuple[AgainSource, Query]:
    rates = np.array([0.5, 0.1, 0.5, 0.2], dtype=np.float32)
    asked = Query(at=NOW, limit=5, history=history, context=np.array(context, dtype=np.int64))
    return AgainSource("again", rates, fading=0.1, power=1.0), asked


def test_what_is_bought_often_and_lately_is_wished_for_again() -> None:
    bought = query([2, 0, 3, 1], [1.0, 1.0, 0.0, -1.0]).history
    source, asked = again(replace(bought, visits=np.array([1, 4, 2, 0], dtype=np.float32)))
    opinion = ask(source, asked)
    assert opinion.scores(np.arange(4)) == pytest.approx([2 * np.exp(-0.1), 0, 0.5, 0])
    assert opinion.best(10).tolist() == [0, 2], (
        "what was disliked, or is not known to be liked, is not"
    )
    assert opinion.because(np.array([2, 0, 1])).tolist() == [0, 1, -1]


def test_behind_a_page_the_reason_still_names_the_item_itself() -> None:
    source, asked = again(query([2, 0, 3], [1.0, 1.0, 1.0]).history, context=(1, 2))
    positions = ask(source, asked).because(np.array([0, 3]))
    assert asked.seeds.items[positions].tolist() == [0, 3]


def test_without_a_history_there_is_nothing_to_come_back_to() -> None:
    source, asked = again(query([], []).history)
    assert np.isnan(ask(source, asked).scores(np.arange(4))).all()
    assert not len(ask(source, asked).best(3))
    assert ask(source, asked).because(np.array([1])).tolist() == [-1]


@pytest.fixture
def space() -> Space:
    """Twenty items, of which the last has no vector."""
    ids = IdMap([f"{n:02}" for n in range(20)])
    rows = np.random.default_rng(0).normal(size=(19, 6)).astype(np.float32)
    card = EncoderCard("made for a test", "1", "text", 6, None, "")
    table = VectorTable(IdMap(list(ids)[:19]), unit_rows(rows), card)
    return build_space(ids, table, IndexSettings())


def test_a_taste_is_the_sum_of_what_was_liked_and_fades(space: Space) -> None:
    opinion = ask(
        TasteSource("taste", space, "text", fading=0.5), query([3, 7, 5], [1.0, -1.0, 0.2])
    )
    taste = space.rows[3] + np.exp(-0.5 * 2) * space.rows[5]
    expected = space.rows[:19] @ taste / np.linalg.norm(taste)
    scores = opinion.scores(np.arange(20))
    assert scores[:19] == pytest.approx(expected, abs=1e-5)
    assert np.isnan(scores[19])
    assert not len(opinion.best(4)), "it judges what others find"


@pytest.mark.parametrize("history", [[], [19]])
def test_without_a_like_that_has_content_there_is_no_taste(
    space: Space, history: list[int]
) -> None:
    opinion = ask(TasteSource("taste", space, "text"), query(history, [1.0] * len(history)))
    assert np.isnan(opinion.scores(np.arange(20))).all()
    assert not len(opinion.best(5))
