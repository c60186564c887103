"""Rows and scores of sparse item-to-item matrices."""

import numpy as np
from hypothesis import given, settings
from matrices import drawn, random
from scipy.sparse import csr_array

from recsys.preference.pruning import strongest
from recsys.preference.sparse import (
    grown,
    read_sparse,
    score,
    weakest,
    with_rows,
    without,
    write_sparse,
)


def test_a_history_is_scored_by_the_rows_of_its_items():
    W = csr_array(np.array([[0, 1, 2], [3, 0, 4], [5, 6, 0]], dtype=np.float32))
    got = score(W, np.array([2, 0]), np.array([1, -0.5], np.float32))
    assert got.dtype == np.float32
    assert got.tolist() == [5, 5.5, -1]
    assert score(W, np.array([], dtype=np.int64), np.array([], np.float32)).tolist() == [0, 0, 0]


def test_a_matrix_is_read_back_as_written_and_stays_in_its_file(tmp_path):
    W = random(6, 9, 0.3, 3)
    write_sparse(W, tmp_path, "w")
    got = read_sparse(tmp_path, "w")
    assert got.shape == W.shape
    assert np.array_equal(got.toarray(), W.toarray())
    assert isinstance(got.data.base, np.memmap)
    assert not got.data.flags.writeable


@given(drawn)
@settings(deadline=None)
def test_rows_taken_out_and_put_in_are_those_of_a_dense_matrix(world):
    rows, _, share, seed, _ = world
    W, block = random(rows, rows, share, seed), random(rows, rows, share, seed + 1)
    some = np.flatnonzero(np.random.default_rng(seed).random(rows) < 0.4)
    dense = W.toarray()
    dense[some] = block.toarray()[some]
    np.testing.assert_array_equal(with_rows(W, some, block[some]).toarray(), dense)
    dense = W.toarray()
    dense[some] = 0
    dense[:, some] = 0
    np.testing.assert_array_equal(without(W, some).toarray(), dense)


@given(drawn)
@settings(deadline=None)
def test_an_entry_gets_into_a_row_only_if_it_beats_the_weakest(world):
    rows, columns, share, seed, k = world
    W = strongest(random(rows, columns, share, seed), k)
    for row, least in zip(W.toarray(), weakest(W, k), strict=True):
        kept = np.abs(row[row != 0])
        assert least == (kept.min() if len(kept) == k else 0)


def test_a_grown_matrix_has_nothing_behind_its_own_entries():
    W = random(4, 4, 0.5, 0)
    wide = grown(W, 6)
    assert wide.shape == (6, 6)
    np.testing.assert_array_equal(wide.toarray()[:4, :4], W.toarray())
    assert not wide.toarray()[4:].any()
    assert not wide.toarray()[:, 4:].any()
