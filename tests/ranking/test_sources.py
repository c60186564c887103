from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.ranking.candidates import History, Query
from recsys.ranking.sources import RowSource, newest, standing

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


def test_rows_add_up_with_the_weights_of_the_history() -> None:
    opinion = RowSource("rows", W, KNOWN).consider(query([0, 3], [1.0, 0.5]))
    scores = opinion.scores(np.array([0, 1, 2, 3]))
    assert scores[:3] == pytest.approx([0, 2, 3])
    assert np.isnan(scores[3]), "an item that no row leads to is unknown, not worthless"
    assert opinion.best(10).tolist() == [2, 1]
    assert opinion.best(1).tolist() == [2]


def test_what_is_disliked_pushes_its_neighbours_down() -> None:
    opinion = RowSource("rows", W, KNOWN).consider(query([0, 3], [1.0, -1.0]))
    assert opinion.scores(np.array([1, 2])).tolist() == [2, -3]
    assert opinion.best(10).tolist() == [1], "a negative sum is never a suggestion"


def test_the_reason_is_the_seed_with_the_largest_part() -> None:
    opinion = RowSource("rows", W, KNOWN).consider(query([3, 0, 2], [0.5, 1.0, 1.0]))
    assert opinion.because(np.array([2, 1, 3, 0])).tolist() == [0, 1, -1, -1]


def test_an_unknown_viewer_gets_no_opinion_rather_than_zeros() -> None:
    for opinion in (
        RowSource("rows", W, KNOWN).consider(query([], [])),
        RowSource("rows", W, KNOWN).consider(query([2], [1.0])),
    ):
        assert opinion.best(10).tolist() == []
        assert np.isnan(opinion.scores(np.array([0, 1]))).all()
        assert opinion.because(np.array([0, 1])).tolist() == [-1, -1]


def test_rows_agree_with_the_dense_product() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(40, 40)) * (rng.random((40, 40)) < 0.2)
    weights = csr_array(dense.astype(np.float32))
    history, strength = rng.choice(40, 8, replace=False), rng.normal(size=8)
    opinion = RowSource("rows", weights, np.ones(40, bool)).consider(
        query(history.tolist(), strength.tolist())
    )
    expected = strength @ dense[history]
    assert opinion.scores(np.arange(40)) == pytest.approx(expected, abs=1e-5)
    best = [n for n in np.argsort(-expected, kind="stable") if expected[n] > 0][:10]
    assert opinion.best(10).tolist() == best


def test_popularity_lists_what_is_known_best_first() -> None:
    values = np.array([1, np.nan, 5, 0], dtype=np.float32)
    opinion = standing("popular", values).consider(query([], []))
    assert opinion.best(10).tolist() == [2, 0]
    assert opinion.scores(np.array([2, 1]))[0] == 5
    assert np.isnan(opinion.scores(np.array([1]))).all()


def test_new_items_come_newest_first_and_the_unpublished_not_at_all() -> None:
    now = int(NOW.timestamp() * 1e6)
    day = 86_400_000_000
    opinion = newest(np.array([now - 14 * day, now + day, now, now - 28 * day]), 14).consider(
        query([], [])
    )
    assert opinion.best(10).tolist() == [2, 0, 3]
    assert opinion.scores(np.array([2, 0, 3])) == pytest.approx([1, 1 / 2, 1 / 3])
    assert np.isnan(opinion.scores(np.array([1]))).all()
