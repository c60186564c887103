"""Normalised co-occurrence against counts made by hand."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.config import EventSettings, PreferenceSettings
from recsys.preference.cooccurrence import fit_cooccurrence
from recsys.preference.interactions import interactions
from recsys.preference.sparse import score


def exponents(user, come_from, to, k=200):
    return PreferenceSettings(
        cooccurrence_user_exponent=user,
        cooccurrence_from_exponent=come_from,
        cooccurrence_to_exponent=to,
        cooccurrence_neighbours=k,
    )


X = csr_array(np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]], dtype=np.float32))
"""Items are liked by 2, 2 and 2 people; people like 2, 3 and 1 items."""


def test_without_discounts_it_counts_the_people_two_items_share():
    got = fit_cooccurrence(X, exponents(0, 0, 0)).toarray()
    assert got.tolist() == [[0, 2, 1], [2, 0, 1], [1, 1, 0]]


def test_each_exponent_discounts_its_own_side():
    uneven = csr_array(np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 0]], dtype=np.float32))
    by_person = fit_cooccurrence(uneven, exponents(1, 0, 0)).toarray()
    assert by_person[0] == pytest.approx([0, 1 / 3 + 1 / 2, 1 / 3])
    come_from = fit_cooccurrence(uneven, exponents(0, 1, 0)).toarray()
    assert come_from[0] == pytest.approx([0, 2 / 4, 1 / 4])
    assert come_from[1] == pytest.approx([2 / 2, 0, 1 / 2])
    to = fit_cooccurrence(uneven, exponents(0, 0, 1)).toarray()
    assert to[0] == pytest.approx([0, 2 / 2, 1 / 1])


def test_sharpness_is_a_power_of_every_weight():
    sharp = exponents(0, 0, 0).model_copy(update={"cooccurrence_sharpness": 2.0})
    assert fit_cooccurrence(X, sharp).toarray().tolist() == [[0, 4, 1], [4, 0, 1], [1, 1, 0]]


def test_cosine_is_a_special_case():
    rng = np.random.default_rng(0)
    dense = (rng.random((30, 8)) < 0.3).astype(np.float32)
    norms = np.linalg.norm(dense, axis=0)
    cosine = dense.T @ dense / np.outer(norms, norms)
    np.fill_diagonal(cosine, 0)
    got = fit_cooccurrence(csr_array(dense), exponents(0, 0.5, 0.5)).toarray()
    assert got == pytest.approx(cosine, abs=1e-6)


def test_only_the_strongest_neighbours_are_kept():
    got = fit_cooccurrence(X, exponents(0, 0, 0, k=1)).toarray()
    assert got[0].tolist() == [0, 2, 0]
    assert (np.count_nonzero(got, axis=1) == 1).all()


def test_tastes_that_never_meet_have_no_weight_between_them(checkerboard):
    likes = interactions(checkerboard, 20, EventSettings(), 200).matrix
    W = fit_cooccurrence(likes, PreferenceSettings())
    even = score(W, np.array([0, 2]), np.ones(2, np.float32))
    assert (even[1::2] == 0).all()
    assert (even[4::2] > 0).all()


def test_items_nobody_liked_have_no_weights():
    got = fit_cooccurrence(csr_array(np.eye(3, 5, dtype=np.float32)), PreferenceSettings())
    assert got.shape == (5, 5)
    assert got.nnz == 0
    empty = fit_cooccurrence(csr_array((0, 1), dtype=np.float32), PreferenceSettings())
    assert empty.shape == (1, 1)
