"""Places on the map: what belongs together lies together, and unusual catalogues have places as well."""

import numpy as np
import pytest

from recsys.embedding.encoder import unit_rows
from recsys.identity import ABSENT
from recsys.mapping.ground import Ground, Rows, ground_of, rows_of, with_new
from recsys.mapping.layout import laid_out, sketch

CLUSTERS = 8


def planted(count: int = 400, dim: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around 8 centres, and which centre each is of."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(CLUSTERS, size=count)
    rows = rng.normal(size=(CLUSTERS, dim))[cluster] + 0.8 * rng.normal(size=(count, dim))
    return unit_rows(rows.astype(np.float32)), cluster


def taste(rows: np.ndarray) -> Ground:
    return ground_of("taste", Rows(len(rows), np.arange(len(rows)), rows), {})


def together(places: np.ndarray, cluster: np.ndarray) -> float:
    """Share of the ten nearest on the map that are of one's own cluster."""
    away = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(away, np.inf)
    near = np.argsort(away, axis=1)[:, :10]
    return float((cluster[near] == cluster[:, None]).mean())


def test_clusters_stay_together_in_the_layout_and_better_than_in_the_sketch() -> None:
    rows, cluster = planted()
    layout, first = laid_out(taste(rows)), sketch(rows)
    assert together(layout, cluster) > 0.95
    assert 1 / CLUSTERS < together(first, cluster) < together(layout, cluster)


def test_the_same_ground_gives_the_same_layout() -> None:
    ground = taste(planted(120)[0])
    np.testing.assert_array_equal(laid_out(ground), laid_out(ground))


def test_the_sketch_shows_the_two_directions_that_differ_most() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(300, 6)) * [5, 1, 0.01, 3, 0.01, 0.01]).astype(np.float32)
    first = sketch(rows)
    assert abs(np.corrcoef(first[:, 0], rows[:, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(first[:, 1], rows[:, 3])[0, 1]) > 0.99


@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 17])
def test_few_items_have_places(count: int) -> None:
    places = laid_out(taste(planted(count)[0]))
    assert places.shape == (count, 2) and np.isfinite(places).all()


@pytest.mark.parametrize("dim", [1, 2])
def test_rows_of_few_numbers_have_places(dim: int) -> None:
    assert np.isfinite(laid_out(taste(planted(40, dim)[0]))).all()


def test_items_all_alike_have_places_that_differ() -> None:
    rows = np.tile(np.float32([0.6, 0.8]), (30, 1))
    for places in (sketch(rows), laid_out(taste(rows))):
        assert np.isfinite(places).all() and len(np.unique(places, axis=0)) == 30


def test_an_item_without_neighbours_has_a_place() -> None:
    ground = taste(planted(60)[0])
    ground.nearest[7], ground.nearness[7] = ABSENT, -np.inf
    assert np.isfinite(laid_out(ground)).all()


def test_items_without_factors_are_not_on_the_map_of_taste() -> None:
    factors = planted(30)[0]
    factors[[3, 9]] = np.nan
    rows = rows_of("taste", {}, factors)
    assert rows is not None and len(rows.items) == 28
    missing = np.isnan(rows.spread(sketch(rows.rows))).any(axis=1)
    assert np.flatnonzero(missing).tolist() == [3, 9]


def test_what_is_not_known_has_no_map() -> None:
    assert rows_of("taste", {}, None) is None
    assert rows_of("taste", {}, np.full((4, 2), np.nan, dtype=np.float32)) is None
    assert rows_of("image", {}, None) is None


def test_without_a_space_new_items_have_no_place() -> None:
    places = np.float32([[0, 0], [2, 4]])
    found = with_new(places, 3, None)
    np.testing.assert_array_equal(found, [[0, 0], [2, 4], [np.nan, np.nan]])
