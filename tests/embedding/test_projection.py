"""What a catalogue is taught of its own, against the plain formula and against groups that are known."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.embedding.encoder import unit_rows
from recsys.embedding.projection import (
    GROUP_POWER,
    MOST_DIRECTIONS,
    Projection,
    Teaching,
)


def shop(n: int = 400, dim: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose kind is told by the four quietest numbers of all, and the kinds."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 8, n)
    rows = rng.normal(size=(n, dim)) * np.linspace(3, 0.5, dim)
    rows[:, -4:] = rng.normal(size=(8, 4))[kinds] * 0.6 + 0.1 * rng.normal(size=(n, 4))
    return unit_rows(rows.astype(np.float32)), kinds


def members_of(kinds: np.ndarray, known: np.ndarray) -> csr_array:
    return csr_array(((kinds[None, :] == np.unique(kinds)[:, None]) & known).astype(np.float32))


def share_of_kind(rows: np.ndarray, kinds: np.ndarray) -> float:
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, -2)
    nearest = np.argsort(-likeness, axis=1)[:, :10]
    return float((kinds[nearest] == kinds[:, None]).mean())


def test_items_that_nobody_told_of_are_nearer_to_their_kind() -> None:
    rows, kinds = shop()
    known = np.arange(len(rows)) < 200
    base = Projection.whitening(rows)
    teaching = Teaching.of(base, base.apply(rows), [(1.0, members_of(kinds, known))], 0.3)
    before = share_of_kind(base.apply(rows)[~known], kinds[~known])
    after = share_of_kind(teaching.projection(0.01).apply(rows)[~known], kinds[~known])
    assert before < 0.5
    assert after > 0.7


def test_rows_that_are_all_the_same_stay_what_they_are() -> None:
    """As where every item has the same placeholder: it is like itself, and no chance makes a difference of it."""
    (row,) = unit_rows(np.random.default_rng(0).normal(size=(1, 24)).astype(np.float32))
    same = np.repeat(row[None], 7, axis=0)
    np.testing.assert_allclose(Projection.whitening(same).apply(same), same, atol=1e-6)


def test_the_metric_is_that_of_all_pairs_of_a_group() -> None:
    """n x n, one pair after another, without an item's pair with itself."""
    rows, _ = shop(60, 6)
    rng = np.random.default_rng(1)
    likes = (rng.random((30, 60)) < 0.15).astype(np.float64)
    likes[:, :5] = 0  # nobody's
    teaching = Teaching.of(
        Projection(np.zeros(6, np.float32), np.eye(6, dtype=np.float32)),
        rows,
        [(1.0, csr_array(likes))],
        ridge=0.3,
    )
    even = likes / np.maximum(likes.sum(axis=1, keepdims=True), 1) ** GROUP_POWER
    even = even / np.maximum(likes.sum(axis=0), 1) ** GROUP_POWER
    taught = likes.sum(axis=0) > 0
    Z = rows[taught].astype(np.float64)
    Z -= Z.mean(axis=0)
    pairs = even[:, taught].T @ even[:, taught]
    gram = Z.T @ Z
    P = np.linalg.inv(gram + 0.3 * np.trace(gram) / 6 * np.eye(6))
    size = np.trace(Z @ P @ Z.T @ pairs @ Z @ P @ Z.T) / len(Z)
    np.fill_diagonal(pairs, 0)
    values, directions = np.linalg.eigh(P @ Z.T @ pairs @ Z @ P)
    expected = np.maximum(values, 0) / size
    np.testing.assert_allclose(teaching.strength, expected, atol=1e-9)
    one = (directions * expected) @ directions.T
    other = (teaching.directions * teaching.strength) @ teaching.directions.T
    np.testing.assert_allclose(other, one, atol=1e-8)


def test_where_no_group_holds_two_items_nothing_is_taught() -> None:
    rows, _ = shop(50, 6)
    base = Projection.whitening(rows)
    alone = csr_array(np.eye(50, dtype=np.float32))
    made = Teaching.of(base, base.apply(rows), [(1.0, alone)], 0.3).projection(0.1)
    np.testing.assert_allclose(made.apply(rows), base.apply(rows), atol=1e-4)


def test_of_many_directions_the_widest_are_kept() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(2_000, 40)) @ rng.normal(size=(40, 600))
    rows = unit_rows(flat.astype(np.float32))
    cut, whole = Projection.whitening(rows), Projection.whitening(rows, most=600)
    assert cut.matrix.shape == (600, MOST_DIRECTIONS) and whole.matrix.shape == (600, 600)
    one, other = cut.apply(rows[:50]), whole.apply(rows[:50])
    np.testing.assert_allclose(one @ one.T, other @ other.T, atol=1e-3)


def test_what_was_taught_has_a_name_of_its_own() -> None:
    rows, kinds = shop()
    base = Projection.whitening(rows)
    everybody = np.ones(len(rows), dtype=bool)
    teaching = Teaching.of(base, base.apply(rows), [(1.0, members_of(kinds, everybody))], 0.3)
    again = Teaching.of(base, base.apply(rows), [(1.0, members_of(kinds, everybody))], 0.3)
    assert base.taught == ""
    assert teaching.projection(0.01).taught == again.projection(0.01).taught != ""
    assert teaching.projection(0.1).taught != teaching.projection(0.01).taught


@pytest.mark.parametrize("count", [0, 1])
def test_of_too_few_rows_nothing_is_learned(count: int) -> None:
    rows = np.ones((count, 3), dtype=np.float32) / np.sqrt(np.float32(3))
    np.testing.assert_allclose(Projection.whitening(rows).apply(rows), rows, atol=1e-6)
