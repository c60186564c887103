"""Everyone's nearest others, found list by list, against a full comparison."""

import numpy as np
import pytest

from recsys.config import IndexSettings
from recsys.embedding.encoder import unit_rows
from recsys.identity import ABSENT
from recsys.index.exact import Exam
from recsys.index.faiss import FaissIndex, build_index
from recsys.index.neighbours import (
    Entries,
    Lists,
    enough_lists,
    entries,
    nearest_others,
    with_entries,
)

RANDOM = np.random.default_rng(0)
CENTRES = RANDOM.normal(size=(80, 24))
ROWS = unit_rows(CENTRES[RANDOM.integers(0, 80, 6_000)] + 0.7 * RANDOM.normal(size=(6_000, 24)))
EVERY = np.arange(len(ROWS))


@pytest.fixture(scope="module")
def lists() -> Lists:
    index = build_index(ROWS, IndexSettings(exact_below=1))
    assert isinstance(index, FaissIndex)
    return index.lists()


def cosines() -> np.ndarray:
    every = ROWS @ ROWS.T
    np.fill_diagonal(every, -np.inf)
    return every


def test_every_row_is_in_one_list_whose_centre_is_nearest(lists: Lists) -> None:
    assert sorted(lists.order) == list(EVERY)
    own = np.argmax(ROWS @ lists.centres.T, axis=1)
    agree = [
        (own[lists.members(n)] == n).mean() for n in range(len(lists)) if len(lists.members(n))
    ]
    assert np.mean(agree) > 0.99


def test_95_of_100_true_neighbours_are_found(lists: Lists) -> None:
    count = enough_lists(Exam.of(ROWS, 50), lists)
    assert count < len(lists)
    found = nearest_others(ROWS, lists, EVERY, 50, count)
    truth = np.argsort(-cosines(), axis=1)[:, :50]
    shared = [np.isin(a, b).mean() for a, b in zip(truth, found.ordinals, strict=True)]
    assert np.mean(shared) >= 0.95
    np.testing.assert_allclose(
        found.scores, np.take_along_axis(cosines(), found.ordinals, axis=1), atol=1e-5
    )
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_in_one_list_all_of_them_are_found_whoever_asks() -> None:
    some = RANDOM.permutation(6_000)[:700]
    found = nearest_others(ROWS, Lists.one(ROWS), some, 20, 1)
    best = -np.sort(-cosines()[some], axis=1)[:, :20]
    np.testing.assert_allclose(found.scores, best, atol=1e-5)


def test_places_that_nobody_fills_are_absent() -> None:
    found = nearest_others(ROWS[:4], Lists.one(ROWS[:4]), np.array([2, 0]), 5, 1)
    assert (found.ordinals[:, 3:] == ABSENT).all() and np.isneginf(found.scores[:, 3:]).all()
    assert sorted(found.ordinals[0, :3]) == [0, 1, 3]
    assert nearest_others(ROWS[:4], Lists.one(ROWS[:4]), EVERY[:0], 5, 1).scores.shape == (0, 5)


def test_who_gets_a_row_as_neighbour_is_who_has_it_nearer_than_the_last() -> None:
    every = cosines()
    least = -np.sort(-every, axis=1)[:, 9]
    asking = np.array([5_000, 17])
    found = entries(ROWS, Lists.one(ROWS), asking, least, 1)
    expected = {(row, item) for item in asking for row in np.flatnonzero(every[:, item] > least)}
    got = {(row, item) for row, item in zip(found.row, found.neighbour, strict=True) if row != item}
    assert got ^ expected <= {
        (row, item) for row, item in got | expected if abs(every[row, item] - least[row]) < 1e-5
    }


def test_new_neighbours_take_their_places_and_push_out_the_last() -> None:
    neighbours = np.array([[7, 8, 9], [1, 2, ABSENT], [3, 4, 5]], dtype=np.int32)
    similarity = np.array([[0.9, 0.5, 0.1], [0.8, 0.2, -np.inf], [0.3, 0.2, 0.1]], np.float32)
    new = Entries(
        np.array([1, 0, 0, 0, 0]),
        np.array([20, 21, 22, 23, 24]),
        np.array([0.4, 0.6, 0.2, 0.95, 0.94], np.float32),
    )
    who, ordinals, scores = with_entries(neighbours, similarity, new)
    assert who.tolist() == [0, 1]
    assert ordinals.tolist() == [[23, 24, 7], [1, 20, 2]]
    np.testing.assert_allclose(scores, [[0.95, 0.94, 0.9], [0.8, 0.4, 0.2]])
