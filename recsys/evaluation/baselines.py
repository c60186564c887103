"""Slates of the baselines: the same items and filters as a served slate, nothing else of the engine."""

from collections.abc import Mapping, Sequence

import numpy as np

from recsys.catalogue.items import ItemTable
from recsys.evaluation.exam import LIMIT
from recsys.identity import ABSENT, Floats, Ordinals
from recsys.preference.baselines import Scorer
from recsys.ranking.block import Block, Lists, best_of
from recsys.ranking.candidates import Query
from recsys.ranking.filters import Conditions, Sieve

LAST = float(np.finfo(np.float32).min)
"""Stands for an unknown score where the slate must be filled all the same."""

WHY_LEFT_OUT = {
    "ALS": "the setting preference.factors is 0",
    "EASE": "the setting preference.linear_memory_gb is 0",
    "linear model": "the setting preference.linear_memory_gb is 0",
    "transitions": "the setting preference.transitions_span is 0, or what people like has no order",
    "content": "no item has a vector of its text or picture",
}


def baseline_slates(
    scorers: Mapping[str, Scorer], popular: Floats, items: ItemTable, queries: Sequence[Query]
) -> dict[str, Ordinals]:
    """Baseline -> (q, LIMIT) items, best first; `ABSENT` where the catalogue has no more.

    popular: (n,) decides between items that a baseline cannot tell apart; it is all that is left where a
    baseline has nothing to say, as in any shop.
    """
    slates = {name: np.full((len(queries), LIMIT), ABSENT, dtype=np.int64) for name in scorers}
    sieve = Sieve(items, Conditions(items))
    by_popularity = np.argsort(-popular, kind="stable")
    for row, query in enumerate(queries):
        allowed = by_popularity
        if query.rerank is not None:
            allowed = allowed[np.isin(allowed, query.rerank)]
        allowed = sieve.keep(Block((query,)), Lists.of([allowed])).items
        for name, score in scorers.items():
            scores = score(query.history.items, query.history.weights)
            best = allowed[best_of(np.nan_to_num(scores[allowed], nan=LAST), LIMIT)]
            slates[name][row, : len(best)] = best
    return slates


def popularity_slates(
    popular: Floats, items: ItemTable, queries: Sequence[Query]
) -> dict[str, Ordinals]:
    """The row `popularity` of `baseline_slates`, without a look at the items that nobody gets to see."""
    slates = np.full((len(queries), LIMIT), ABSENT, dtype=np.int64)
    sieve = Sieve(items, Conditions(items))
    by_popularity = np.argsort(-popular, kind="stable")
    place = np.empty_like(by_popularity)
    place[by_popularity] = np.arange(len(place))
    for row, query in enumerate(queries):
        order = by_popularity
        if query.rerank is not None:
            order = query.rerank[np.argsort(place[query.rerank])]
        best = _first_allowed(order, query, sieve)
        slates[row, : len(best)] = best
    return {"popularity": slates}


def _first_allowed(order: Ordinals, query: Query, sieve: Sieve) -> Ordinals:
    """At most LIMIT that every filter keeps, looking no further than it takes."""
    depth = 4 * LIMIT + len(query.seen)
    while True:
        allowed = sieve.keep(Block((query,)), Lists.of([order[:depth]])).items
        if len(allowed) >= LIMIT or depth >= len(order):
            return allowed[:LIMIT]
        depth *= 4
