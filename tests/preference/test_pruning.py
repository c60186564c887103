"""The largest weights of every row, of matrices and of products."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import drawn, random
from scipy.sparse import csr_array

from recsys.preference import pruning
from recsys.preference.pruning import (
    loudest_first,
    strongest,
    strongest_of_dense,
    strongest_product,
)


@given(drawn)
@settings(max_examples=60, deadline=None)
def test_pruning_keeps_the_largest_magnitudes_of_every_row_and_nothing_else(world):
    *shape, k = world
    W = random(*shape)
    got = strongest(W, k)
    for before, after in zip(W.toarray(), got.toarray(), strict=True):
        kept = after != 0
        assert kept.sum() == min(k, np.count_nonzero(before))
        assert (after[kept] == before[kept]).all()
        assert np.abs(before[~kept]).max(initial=0) <= np.abs(after[kept]).min(initial=np.inf)
    assert np.array_equal(got.toarray(), strongest_of_dense(W.toarray(), k).toarray())


@pytest.mark.parametrize("hollow", [False, True])
def test_a_product_in_blocks_is_the_whole_product_pruned(monkeypatch, hollow):
    monkeypatch.setattr(pruning, "_BLOCK", 40)
    A, B = random(30, 25, 0.2, 1), random(25, 30, 0.2, 2)
    whole = A.toarray() @ B.toarray()
    if hollow:
        np.fill_diagonal(whole, 0)
    expected = strongest_of_dense(whole, 5).toarray()
    got = strongest_product(A, B, 5, hollow=hollow)
    assert got.toarray() == pytest.approx(expected, abs=1e-6)


@given(drawn, st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_pruned_product_is_the_product_of_scipy_pruned(world, hollow):
    rows, columns, share, seed, k = world
    A, B = random(rows, columns, share, seed), random(columns, rows, share, seed + 1)
    whole = A @ B
    whole.setdiag(np.where(hollow, 0, whole.diagonal()))
    expected, got = strongest(whole, k), strongest_product(A, B, k, hollow=hollow)
    for part in ("indptr", "indices", "data"):
        assert np.array_equal(getattr(got, part), getattr(expected, part))


@given(drawn, st.booleans())
@settings(max_examples=60, deadline=None)
def test_two_products_in_one_go_are_one_after_the_other(world, hollow):
    rows, columns, share, seed, k = world
    A, B, C = (
        random(*shape, share, seed + n)
        for n, shape in enumerate([(rows, columns), (columns, rows), (rows, 9)])
    )
    expected = strongest_product(strongest_product(A, B, k), C, k, hollow=hollow)
    got = strongest_product(A, B, k, then=C, hollow=hollow)
    assert got.shape == expected.shape
    for part in ("indptr", "indices", "data"):
        assert np.array_equal(getattr(got, part), getattr(expected, part))


@pytest.mark.parametrize("k", [1, 7, 200, 2_500])
def test_long_rows_are_pruned_exactly(k):
    """Also where sizes span many powers of two, and where nearly all share one."""
    rng = np.random.default_rng(0)
    dense = np.stack([rng.lognormal(0, 9, 2_000), rng.uniform(1, 1.1, 2_000), np.full(2_000, -2.0)])
    got = strongest(csr_array(dense.astype(np.float32)), k).toarray()
    for before, after in zip(dense.astype(np.float32), got, strict=True):
        best = np.argsort(-np.abs(before), kind="stable")[:k]
        assert np.array_equal(np.flatnonzero(after), np.sort(best))
        assert (after[best] == before[best]).all()


def test_of_equals_those_further_left_are_kept():
    rows = csr_array(np.array([[2, -1, 1, 1, 0], [1, 1, 1, 1, 1]], dtype=np.float32))
    kept = [[2, -1, 1, 0, 0], [1, 1, 1, 0, 0]]
    assert strongest(rows, 3).toarray().tolist() == kept
    shuffled = csr_array(rows)
    shuffled.indices[:4], shuffled.data[:4] = [3, 2, 1, 0], [1, 1, -1, 2]
    shuffled.has_sorted_indices = False
    assert strongest(shuffled, 3).toarray().tolist() == kept
    assert (
        strongest_product(csr_array(np.eye(2, dtype=np.float32)), rows, 3).toarray().tolist()
        == kept
    )


def test_what_cancels_out_on_the_way_counts_once():
    A = csr_array(np.array([[1, -1, 2, 1]], dtype=np.float32))
    B = csr_array(np.array([[1, 0, 3], [1, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32))
    assert strongest_product(A, B, 3).toarray().tolist() == [[2, 1, 3]]
    assert strongest_product(A, B, 2).toarray().tolist() == [[2, 0, 3]]
    gone = csr_array(np.array([[1, -1, 0, 0]], dtype=np.float32))
    assert strongest_product(gone, B, 3).nnz == 1  # 1 - 1 is no entry


def test_a_product_is_the_same_with_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(pruning, "_BLOCK", 1_000)
    A, B = random(200, 150, 0.1, 3), random(150, 200, 0.1, 4)
    found = []
    for threads in (1, 5):
        monkeypatch.setattr(pruning, "thread_count", lambda count=threads: count)
        found.append(strongest_product(A, B, 20))
    for part in ("indptr", "indices", "data"):
        assert np.array_equal(*(getattr(product, part) for product in found))


@given(drawn)
@settings(max_examples=60, deadline=None)
def test_the_loudest_come_first_and_nothing_is_lost(world):
    rows, columns, share, seed, _ = world
    W = random(rows, columns, share, seed)
    W.data = np.round(W.data)  # many are alike, and some are 0
    got = loudest_first(W)
    assert np.array_equal(got.toarray(), W.toarray())
    for row in range(rows):
        entries = slice(got.indptr[row], got.indptr[row + 1])
        said = list(zip(-np.abs(got.data[entries]), got.indices[entries], strict=True))
        assert said == sorted(said)
