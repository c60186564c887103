"""ALS factors and the taste vectors solved from them."""

import numpy as np
import pytest
import threadpoolctl
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_array, csr_matrix

from recsys.config import EventSettings, PreferenceSettings
from recsys.preference.factors import Factors, fit_factors
from recsys.preference.interactions import interactions

SETTINGS = PreferenceSettings(factors=8, factors_ridge=1.0, factors_alpha=10.0)


@pytest.fixture(name="X")
def people_by_items(checkerboard):
    return interactions(checkerboard, 22, EventSettings(), 200).matrix


@pytest.fixture
def factors(X):
    return fit_factors(X, SETTINGS, seed=1)


def test_folding_in_gives_the_scores_of_implicits_own_solution():
    """A negative confidence is a dislike."""
    rows = np.random.default_rng(0).normal(size=(22, 8)).astype(np.float32)
    items, weights = np.array([0, 5, 8]), np.array([1.0, -0.5, 0.25], np.float32)
    confidence = np.sign(weights) * (1 + 10.0 * np.abs(weights))
    with threadpoolctl.threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(factors=8, regularization=3.0, alpha=1.0)
    model.item_factors = rows
    row = csr_matrix((confidence.astype(np.float32), items, [0, len(items)]), (1, 22))
    expected = rows @ model.recalculate_user(0, row)
    assert Factors.of(rows, 10.0, 3.0).score(items, weights) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("length", [1, 5, 64, 65, 95, 96, 130])
def test_a_history_of_any_length_gets_the_least_squares_solution(length):
    """Short, long and very long ones are solved in different ways."""
    rng, d = np.random.default_rng(0), 96
    rows = rng.normal(size=(200, d)).astype(np.float32)
    factors = Factors.of(rows, alpha=10.0, ridge=2.0)
    items = rng.choice(200, length, replace=False)
    weights = np.where(np.arange(length) % 3, 1.0, -0.5).astype(np.float32)
    weights[0] = 1
    Y, extra = rows[items].astype(np.float64), 10.0 * np.abs(weights)
    P = (rows.T @ rows).astype(np.float64) + 2.0 * np.eye(d)
    wanted = np.where(weights > 0, 1 + extra, 0)
    expected = np.linalg.solve(P + (Y.T * extra) @ Y, Y.T @ wanted)
    assert factors.score(items, weights) == pytest.approx(rows @ expected, abs=1e-4)


def test_a_taste_is_served_from_its_own_group(X):
    factors = fit_factors(X, SETTINGS.model_copy(update={"factors": 2}), seed=1)
    scores = factors.score(np.array([0, 2]), np.ones(2, np.float32))
    assert scores[4:20:2].min() > scores[1:20:2].max()


def test_a_dislike_lowers_its_item_and_its_kind(factors):
    liked, both = np.array([0]), np.array([0, 2])
    before = factors.score(liked, np.ones(1, np.float32))
    after = factors.score(both, np.array([1, -1], np.float32))
    assert after[2] < before[2]
    assert after[4:20:2].mean() < before[4:20:2].mean()


def test_items_without_behaviour_are_unknown_and_passed_over(factors):
    assert np.isnan(factors.items[20:]).all()
    one, weight = np.array([0]), np.ones(1, np.float32)
    with_unknown = factors.score(np.array([0, 21]), np.ones(2, np.float32))
    assert with_unknown == pytest.approx(factors.score(one, weight), nan_ok=True)
    assert np.isnan(with_unknown).tolist() == [False] * 20 + [True] * 2


@pytest.mark.parametrize(("items", "weights"), [([], []), ([21], [1.0]), ([3], [-1.0])])
def test_without_a_known_like_there_is_no_taste(factors, items, weights):
    scores = factors.score(np.array(items, np.int64), np.array(weights, np.float32))
    assert np.isnan(scores).all()


def test_the_same_seed_gives_the_same_factors_with_any_number_of_threads(X, factors):
    with threadpoolctl.threadpool_limits(1):
        again = fit_factors(X, SETTINGS, seed=1)
    other = fit_factors(X, SETTINGS, seed=2)
    assert np.array_equal(again.items, factors.items, equal_nan=True)
    assert not np.array_equal(other.items, factors.items, equal_nan=True)


def test_they_are_left_out_where_there_is_nothing_to_fit(X):
    assert fit_factors(X, SETTINGS.model_copy(update={"factors": 0}), 0) is None
    assert fit_factors(csr_array((0, 3), dtype=np.float32), SETTINGS, 0) is None
    assert fit_factors(csr_array((2, 3), dtype=np.float32), SETTINGS, 0) is None


def test_they_are_read_back_as_written(factors, tmp_path):
    factors.write(tmp_path)
    got = Factors.load(tmp_path)
    assert np.array_equal(got.items, factors.items, equal_nan=True)
    assert got.alpha == 10.0
