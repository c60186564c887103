from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from recsys.catalogue.item_table import ItemTable
from recsys.evaluation.baselines import baseline_slates, popularity_slates
from recsys.ranking.candidates import NO_HISTORY, Query

AT = datetime(2026, 6, 1, tzinfo=UTC)
NAN = np.nan

Items = Callable[..., ItemTable]


@pytest.mark.parametrize("silence", [0.0, NAN])
def test_a_baseline_with_nothing_to_say_shows_the_most_popular(
    make_items: Items, silence: float
) -> None:
    popular = np.array([1, NAN, 3, 2], dtype=np.float32)
    silent = {"silent": lambda items, weights: np.full(4, silence, dtype=np.float32)}
    found = baseline_slates(silent, popular, make_items(4), [Query(AT, 20, NO_HISTORY)])
    assert found["silent"][0].tolist() == [2, 3, 0, 1] + [-1] * 16


def test_seen_and_unavailable_items_are_masked_as_in_a_served_slate(make_items: Items) -> None:
    items = make_items(5, available=[True, False, True, True, True])
    query = Query(AT, 20, NO_HISTORY, seen=np.array([4]))
    scorers = {"by number": lambda items, weights: np.arange(5, dtype=np.float32)}
    found = baseline_slates(scorers, np.zeros(5, dtype=np.float32), items, [query])
    assert found["by number"][0, :4].tolist() == [3, 2, 0, -1]


def test_a_baseline_ranks_the_items_that_were_given_and_no_others(make_items: Items) -> None:
    query = Query(AT, 20, NO_HISTORY, rerank=np.array([1, 3]))
    scorers = {"by number": lambda items, weights: np.arange(5, dtype=np.float32)}
    found = baseline_slates(scorers, np.zeros(5, dtype=np.float32), make_items(5), [query])
    assert found["by number"][0].tolist() == [3, 1] + [-1] * 18


def test_popularity_asked_alone_shows_what_it_shows_beside_the_others(make_items: Items) -> None:
    """However far down the list the first allowed items stand, and among the items given."""
    rng = np.random.default_rng(0)
    n = 900
    items = make_items(n, available=(rng.random(n) < 0.5).tolist())
    popular = rng.integers(0, 60, n).astype(np.float32)  # with many ties
    popular[rng.random(n) < 0.2] = NAN
    likes_most = np.argsort(-popular, kind="stable")
    queries = [
        Query(AT, 20, NO_HISTORY),
        Query(AT, 20, NO_HISTORY, seen=likes_most[:500]),
        Query(AT, 20, NO_HISTORY, exclude=likes_most[:880]),
        Query(AT, 20, NO_HISTORY, rerank=np.sort(rng.choice(n, 300, replace=False))),
        Query(AT, 20, NO_HISTORY, rerank=np.array([5, 7, 9])),
    ]
    scorers = {"popularity": lambda items, weights: popular}
    beside = baseline_slates(scorers, popular, items, queries)["popularity"]
    alone = popularity_slates(popular, items, queries)["popularity"]
    assert np.array_equal(alone, beside)
