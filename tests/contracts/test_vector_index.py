"""What every VectorIndex promises, run against each kind on 5,000 clustered vectors."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recsys.config import IndexSettings
from recsys.identity import ABSENT
from recsys.index.exact import ExactIndex, Exam, Neighbours, VectorIndex
from recsys.index.faiss import FaissIndex, build_index, choose_kind

COUNT, DIM = 5_000, 32
KINDS = {
    "exact": IndexSettings(),
    "ivf": IndexSettings(exact_below=1),
}


def clustered(count: int, seed: int = 0) -> np.ndarray:
    """Unit rows around 100 centres, as items come in kinds."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(100, DIM))
    rows = centres[random.integers(0, 100, count)] + 0.4 * random.normal(size=(count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


ROWS = clustered(COUNT)
QUERIES = ROWS[::100] * np.float32(0.5) + clustered(50, seed=1) * np.float32(0.5)


@pytest.fixture(scope="module", params=KINDS)
def index(request: pytest.FixtureRequest) -> VectorIndex:
    settings = KINDS[request.param]
    assert choose_kind(COUNT, settings) == request.param
    built = build_index(ROWS, settings)
    assert isinstance(built, ExactIndex if request.param == "exact" else FaissIndex)
    return built


def oracle(queries: np.ndarray, k: int, allowed: np.ndarray) -> Neighbours:
    """The answer, by sorting everything."""
    scores = queries.astype(np.float64) @ ROWS[allowed].T.astype(np.float64)
    order = np.argsort(-scores, axis=1)[:, :k]
    return Neighbours(allowed[order], np.take_along_axis(scores, order, axis=1).astype(np.float32))


def test_at_least_95_of_100_true_neighbours_are_found(index: VectorIndex) -> None:
    truth = oracle(QUERIES, 10, np.arange(COUNT)).ordinals
    found = index.search(QUERIES, 10).ordinals
    shared = [len(set(a) & set(b)) for a, b in zip(truth, found, strict=True)]
    assert np.mean(shared) / 10 >= 0.95
    assert Exam.of(ROWS, 10).recall(index) >= 0.95


def test_scores_are_inner_products_best_first(index: VectorIndex) -> None:
    found = index.search(QUERIES, 20)
    products = np.einsum("qd,qkd->qk", QUERIES, ROWS[found.ordinals])
    np.testing.assert_allclose(found.scores, products, atol=1e-5)
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert found.ordinals.dtype == np.int64 and found.scores.dtype == np.float32


@pytest.mark.parametrize("share", [0.001, 0.01])
def test_a_narrow_filter_gets_the_exact_answer(index: VectorIndex, share: float) -> None:
    allowed = np.random.default_rng(2).permutation(COUNT)[: int(share * COUNT)]
    found, truth = index.search(QUERIES, 5, allowed), oracle(QUERIES, 5, allowed)
    np.testing.assert_array_equal(found.ordinals, truth.ordinals)
    np.testing.assert_allclose(found.scores, truth.scores, atol=1e-5)


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_a_wide_filter_is_kept_to_and_costs_little_recall(index: VectorIndex, share: float) -> None:
    allowed = np.random.default_rng(3).permutation(COUNT)[: int(share * COUNT)]
    found, truth = index.search(QUERIES, 10, allowed), oracle(QUERIES, 10, allowed)
    assert np.isin(found.ordinals, allowed).all()
    shared = [len(set(a) & set(b)) for a, b in zip(truth.ordinals, found.ordinals, strict=True)]
    assert np.mean(shared) / 10 >= 0.95


def test_places_that_nothing_fills_are_absent(index: VectorIndex) -> None:
    allowed = np.array([7, 3, 4_999])
    found = index.search(QUERIES[:2], 5, allowed)
    assert sorted(found.ordinals[0, :3]) == [3, 7, 4_999]
    assert (found.ordinals[:, 3:] == ABSENT).all() and np.isneginf(found.scores[:, 3:]).all()
    nothing = index.search(QUERIES[:2], 5, np.empty(0, dtype=np.int64))
    assert (nothing.ordinals == ABSENT).all()
    more = index.search(QUERIES[:1], COUNT + 1)
    assert more.ordinals[0, -1] == ABSENT and more.ordinals.shape == (1, COUNT + 1)


def test_no_queries_or_no_places_give_an_empty_answer(index: VectorIndex) -> None:
    assert index.search(QUERIES[:0], 5).ordinals.shape == (0, 5)
    assert index.search(QUERIES, 0).scores.shape == (len(QUERIES), 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_query_that_is_not_finite_is_refused(index: VectorIndex, bad: float) -> None:
    queries = QUERIES[:2].copy()
    queries[1, 3] = bad
    with pytest.raises(ValueError, match="finite"):
        index.search(queries, 5)


def test_a_query_of_another_length_is_refused(index: VectorIndex) -> None:
    with pytest.raises(ValueError, match=r"\(q, 32\)"):
        index.search(QUERIES[:, :31], 5)
    with pytest.raises(ValueError, match=r"\(q, 32\)"):
        index.search(QUERIES[0], 5)


def test_eight_threads_get_the_answers_of_one(index: VectorIndex) -> None:
    allowed = np.arange(0, COUNT, 2)
    plain, filtered = index.search(QUERIES, 10), index.search(QUERIES, 10, allowed)

    def ask(n: int) -> tuple[Neighbours, Neighbours]:
        return (index.search(QUERIES, 10), index.search(QUERIES, 10, allowed))

    with ThreadPoolExecutor(8) as threads:
        for again in threads.map(ask, range(32)):
            np.testing.assert_array_equal(again[0].ordinals, plain.ordinals)
            np.testing.assert_array_equal(again[1].ordinals, filtered.ordinals)
