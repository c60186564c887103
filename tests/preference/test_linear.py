"""The closed-form linear model against the formulas written out in full."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.config import PreferenceSettings
from recsys.preference import linear
from recsys.preference.linear import fit_linear, head_size

N = 60


def settings(**own):
    return PreferenceSettings(
        linear_ridge=5.0,
        linear_content_ridge=2.0,
        **{"linear_text_weight": 3.0, "linear_neighbours": N, **own},
    )


@pytest.fixture(name="X")
def people_by_items():
    rng = np.random.default_rng(0)
    likes = (rng.random((200, N)) < 0.1) * rng.random((200, N))
    likes[:, :4] = 0
    return csr_array(likes.astype(np.float32))


@pytest.fixture
def content():
    rows = np.random.default_rng(1).normal(size=(N, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[[0, 1, 7, 8]] = 0
    return rows.astype(np.float32)


def ease(gram, ridge):
    P = np.linalg.inv(gram + ridge * np.eye(len(gram)))
    B = -P / P.diagonal()
    np.fill_diagonal(B, 0)
    return B


def distilled(gram, F, ridge, pull, content_ridge):
    """L3AE as the paper writes it: two inverses, everything dense."""
    C = ease(F @ F.T, content_ridge)
    P = np.linalg.inv(gram + (ridge + pull) * np.eye(len(gram)))
    B = pull * P @ C - P * ((1 + pull * (P @ C).diagonal()) / P.diagonal())
    np.fill_diagonal(B, 0)
    return B


def dense_gram(X):
    return (X.T @ X).toarray().astype(np.float64) / np.mean(X.data.astype(np.float64) ** 2)


@pytest.mark.parametrize("run", [7, 512])
def test_without_content_it_is_ease(X, content, run, monkeypatch):
    monkeypatch.setattr(linear, "_RUN", run)
    expected = ease(dense_gram(X), 5.0)
    assert fit_linear(X, {}, settings()).toarray() == pytest.approx(expected, abs=1e-5)
    unpulled = fit_linear(X, {"text": content}, settings(linear_text_weight=0.0))
    assert unpulled.toarray() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("run", [7, 512])
def test_the_content_prior_in_low_rank_is_the_formula_with_two_inverses(
    X, content, run, monkeypatch
):
    monkeypatch.setattr(linear, "_RUN", run)
    expected = distilled(dense_gram(X), content.astype(np.float64), 5.0, 3.0, 2.0)
    got = fit_linear(X, {"text": content}, settings()).toarray()
    assert got == pytest.approx(expected, abs=1e-5)
    assert (got.diagonal() == 0).all()


def test_an_item_without_behaviour_gets_weights_from_its_content(X, content):
    got = fit_linear(X, {"text": content}, settings()).toarray()
    assert np.abs(got[:, 2]).max() > 0  # no behaviour, but content
    assert not got[:, 0].any()  # neither
    assert not got[0].any()


def test_a_ridge_means_the_same_whatever_the_events_weigh(X, content):
    faint = fit_linear(X * np.float32(0.2), {"text": content}, settings()).toarray()
    assert faint == pytest.approx(fit_linear(X, {"text": content}, settings()).toarray(), abs=1e-5)


def test_sharpness_is_a_power_of_the_size_of_every_weight(X, content):
    plain = fit_linear(X, {"text": content}, settings()).toarray()
    sharp = fit_linear(X, {"text": content}, settings(linear_sharpness=2.0)).toarray()
    assert (plain < 0).any()
    assert sharp == pytest.approx(plain * np.abs(plain))


def test_only_the_strongest_weights_are_kept(X):
    full = fit_linear(X, {}, settings()).toarray()
    got = fit_linear(X, {}, settings(linear_neighbours=5)).toarray()
    assert (np.count_nonzero(got, axis=1) <= 5).all()
    assert (got[got != 0] == full[got != 0]).all()
    assert np.abs(got).max() == np.abs(full).max()


def test_texts_and_pictures_pull_with_weights_of_their_own(X, content):
    pictures = np.roll(content, 3, axis=0)
    G, both = dense_gram(X), {"text": content, "image": pictures}
    C = {kind: ease(F.astype(np.float64) @ F.T, 2.0) for kind, F in both.items()}
    P = np.linalg.inv(G + (5.0 + 3.0 + 7.0) * np.eye(N))
    pulled = P @ (3.0 * C["text"] + 7.0 * C["image"])
    expected = pulled - P * ((1 + pulled.diagonal()) / P.diagonal())
    np.fill_diagonal(expected, 0)
    got = fit_linear(X, both, settings(linear_image_weight=7.0)).toarray()
    assert got == pytest.approx(expected, abs=1e-5)


def test_the_memory_says_how_many_items_are_known():
    assert head_size(0) == 0
    assert head_size(2.0) == 15_811
    for n in (1, 20, 6_000, 40_000):
        assert head_size(2 * n * n * np.float32().nbytes / 1e9) == n


def test_with_more_items_than_allowed_the_most_liked_are_known(X, content):
    support = np.bincount(X.indices, minlength=N)
    head = np.sort(np.argsort(-support, kind="stable")[:20])
    room = settings(linear_memory_gb=20 * 20 * 8 / 1e9)
    got = fit_linear(X, {"text": content}, room).toarray()
    alone = fit_linear(X[:, head], {"text": content[head]}, room).toarray()
    assert got[np.ix_(head, head)] == pytest.approx(alone, abs=1e-6)
    assert np.count_nonzero(got) == np.count_nonzero(alone)
    assert fit_linear(X, {}, settings(linear_memory_gb=0)) is None


def test_nothing_known_gives_no_weights():
    got = fit_linear(csr_array((0, 3), dtype=np.float32), {}, settings())
    assert got.shape == (3, 3)
    assert got.nnz == 0
