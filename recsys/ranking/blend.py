"""The sources' scores -> one score: standardise per query, weigh, add.

Scores of different sources have different units, so each is standardised over the candidates of the query
(a z-score) before it is weighed. The weights are fitted on held-out time, per segment of viewers, and once
more for new items: of those, content knows more than behaviour. An item passes from the one set of weights
to the other as events on it arrive,

    score = sum over sources of (own known + (1 - own) new) z  +  (1 - own) unproven,  own = support / (support + n0)
"""

# ruff: noqa: PLC0415  scipy.optimize takes half a second to import: a server never does

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from recsys.identity import Floats, Mask
from recsys.ranking import kernels
from recsys.ranking.candidates import Candidates

Weights = Mapping[str, float]
"""Source name -> weight in the blend; a source not named has none."""

NEW_ITEMS = "new items"
"""Beside the segments: the weights for items that nobody is known to like, where a history leads."""

LED_BY_HISTORY = frozenset({"history", "short", "returning"})
"""The segments in which new items have weights of their own. What was not learned has those of `history`."""

UNPROVEN = "unproven"
"""A part of the score beside those of the sources: what it counts that nobody is known to like an item."""

NEW_ITEMS_START = {
    "text_taste": 1.0,
    "text": 0.5,
    "image_taste": 0.3,
    "image": 0.3,
    "cooccurrence": 0.5,
    "transitions": 0.5,
    "new": 0.05,
}
"""The weights for new items before they are learned; what was not learned is not served."""

STARTING_WEIGHTS: dict[str, dict[str, float]] = {
    "history": {
        "linear": 1.0,
        "cooccurrence": 0.3,
        "transitions": 0.3,
        "factors": 0.3,
        "text": 0.2,
        "image": 0.05,
        "popular": 0.05,
        "trending": 0.05,
    },
    "newcomer": {"popular": 1.0, "trending": 0.3, "new": 0.1},
    "page": {
        "cooccurrence": 1.0,
        "transitions": 0.3,
        "linear": 0.5,
        "factors": 0.3,
        "text": 0.6,
        "image": 0.4,
        "popular": 0.1,
    },
    "search": {
        "text": 1.0,
        "cooccurrence": 0.1,
        "linear": 0.1,
        "factors": 0.1,
        "popular": 0.05,
    },
    "looks": {
        "image": 1.0,
        "cooccurrence": 0.1,
        "linear": 0.1,
        "factors": 0.1,
        "popular": 0.05,
    },
    "both": {
        "text": 1.0,
        "image": 1.0,
        "cooccurrence": 0.1,
        "linear": 0.1,
        "factors": 0.1,
        "popular": 0.05,
    },
}
"""Segment -> weights before anything is learned; also what a build without enough events serves with."""

STEPS = (0.0, 0.25, 0.5, 0.75, 1.25, 1.5, 2.0, 3.0)
"""Factors tried on one weight at a time; 0 switches the source off."""

SWEEPS = 4
"""Rounds over all weights at the most."""

SEEDS_OF_A_WEIGHT = (0.1, 0.3)
"""Values tried for a source that is switched off."""

SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Tried for the weights of new items, against those of known ones with the same spread."""

UNPROVEN_BY = (-2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0, 3.0)
"""Tried for what it counts that nobody is known to like an item, in spreads of a query's scores."""

DEPTH = 20
"""Places that count when weights are fitted: more than are looked at most, and so less of it is chance."""

MARGIN = 1e-4
"""NDCG that a change must gain at the least."""

LEAST_SHARE = 0.03
"""Share of all weights below which a source is switched off: it costs time and decides next to nothing."""

DOUBT = 30.0
"""How strongly the likeliest weights are drawn to where they set out from: few queries leave them there."""


def standardise(scores: Floats) -> Floats:
    """(n,) z-scores over the finite entries. Unknown (NaN) gets 0: it speaks neither for nor against.

    All alike (or all unknown) gives zeros.
    """
    one, nothing = np.ones((1, 1), dtype=np.float32), np.empty((1, 0), dtype=np.float32)
    edges, own = np.array([0, len(scores)]), np.ones(len(scores), dtype=np.float32)
    voices = np.zeros(1, dtype=np.int64)
    return np.asarray(kernels.blend(edges, scores[None], own, voices, one, one, nothing)[0])


def blend(
    candidates: Candidates, weights: Weights, for_new: Weights | None = None
) -> dict[str, Floats]:
    """Source name -> (m,) finite part of the score, and perhaps `UNPROVEN`. The score is the sum of the parts.

    for_new: the weights for new items; None: the same as for known ones. Scores are standardised query by query.
    """
    new = weights if for_new is None else for_new
    heard = [name for name in candidates.scores if weights.get(name) or new.get(name)]
    size = len(candidates.items)
    own = np.ones(size, dtype=np.float32) if candidates.own is None else candidates.own
    scores = np.empty((len(heard), size), dtype=np.float32)
    for row, name in enumerate(heard):
        scores[row] = candidates.scores[name]
    known, other = (
        np.array([[of.get(name, 0) for name in heard]], dtype=np.float32) for of in (weights, new)
    )
    proven = [weights.get(UNPROVEN, 0.0), new.get(UNPROVEN, 0.0)]
    names = [*heard, UNPROVEN] if any(proven) else heard
    each = np.array([proven if any(proven) else []], dtype=np.float32)
    voices = np.zeros(len(candidates.edges) - 1, dtype=np.int64)
    table = kernels.blend(candidates.edges, scores, own, voices, known, other, each)
    return dict(zip(names, table, strict=True))


@dataclass(frozen=True)
class Example:
    """One held-out query: what each source thought of the candidates, and what the viewer then chose."""

    candidates: Candidates
    chosen: Mask
    """(n,) True for candidates that are targets."""
    targets: int
    """Targets in all, those that no source found included."""


def fit_weights(examples: Sequence[Example], *starts: Weights) -> dict[str, float]:
    """The mean of the summits of NDCG@20 that are reached from each start and from the likeliest weights.

    NDCG has many summits, about equally high and each a little by chance: their mean does better on queries
    that were not learned from than the highest of them. The weights add up to 1, and what has too small a
    share has none. Deterministic. With no examples the first start is returned.
    """
    if not examples:
        return dict(starts[0])
    problem = Stack.of(examples)
    first = (*starts, likeliest(problem, starts[0]))
    summits = [_shares(_ascend(problem, start)) for start in first]
    mean = {name: sum(found[name] for found in summits) / len(summits) for name in problem.names}
    return _shares({name: share * (share >= LEAST_SHARE) for name, share in mean.items()})


def _shares(weights: Weights) -> dict[str, float]:
    """Scaled so that they add up to 1; as they are where all are 0."""
    total = sum(weights.values()) or 1.0
    return {name: weight / total for name, weight in weights.items()}


def _ascend(problem: "Stack", start: Weights) -> dict[str, float]:
    """Coordinate ascent: one weight at a time takes its best value.

    A change must gain more than its standard error over the queries: the window that is learned from is
    not the one that is served, and what one of them gains by chance the other pays for.
    """
    weights = {name: float(start.get(name, 0.0)) for name in problem.names}
    reached = problem.ndcg(weights)
    for _ in range(SWEEPS):
        before = reached
        for name in problem.names:
            weights[name], reached = _best_value(problem, weights, name, reached)
        if reached.mean() - before.mean() < MARGIN:
            break
    return weights


def _surely(gain: NDArray[np.float64]) -> bool:
    """Whether a gain per query exceeds what chance may give."""
    return bool(gain.mean() > max(MARGIN, float(gain.std()) / len(gain) ** 0.5))


def likeliest(problem: "Stack", start: Weights) -> dict[str, float]:
    """The weights, none below 0, under which what was liked is likeliest: a multinomial logit over the candidates.

    Every query counts the same; the prior is a normal one around the start. It looks at all candidates and
    has one summit, where NDCG looks at the first places and has many. (McFadden 1974; ListNet, Cao et al. 2007.)
    """
    from scipy.optimize import minimize

    parts, padding = problem.parts, problem.padding
    first = problem.vector(start).astype(np.float64).clip(min=0)
    share = problem.gains / problem.gains.sum(axis=1, keepdims=True)
    liked = np.einsum("qc,qcs->s", share, parts, optimize=True)

    def cost(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = parts @ weights.astype(np.float32) + padding
        highest = scores.max(axis=1, keepdims=True)
        odds = np.exp(scores - highest)
        total = odds.sum(axis=1, keepdims=True)
        away = weights - first
        expected = np.einsum("qc,qcs->s", odds / total, parts, optimize=True)
        unlikely = float((highest + np.log(total)).sum(dtype=np.float64)) - liked @ weights
        return unlikely + DOUBT / 2 * away @ away, expected - liked + DOUBT * away

    found = minimize(cost, first, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(first))
    return dict(zip(problem.names, found.x.tolist(), strict=True))


def _best_value(
    problem: "Stack", weights: Weights, name: str, reached: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """The best value of one weight, and the NDCG per query with it; the old ones if none is surely better."""
    old = best = weights[name]
    most = reached
    for value in [old * step for step in STEPS] if old else SEEDS_OF_A_WEIGHT:
        found = problem.ndcg({**weights, name: value})
        if _surely(found - reached) and found.mean() > most.mean():
            best, most = value, found
    return best, most


def fit_room(
    examples: Sequence[Example], known: Sequence[Weights], new: Weights
) -> dict[str, float]:
    """The weights for new items as they are to stand against known ones: scaled, and with `UNPROVEN`.

    known: the weights for known items, of each example. All items race for all targets, so new items get
    as much room as pays. With no examples `new` is returned.
    """
    if not examples:
        return dict(new)
    stack = Stack.of(examples)
    vectors = np.stack([stack.vector(w) for w in known])[stack.told]
    of_known = np.einsum("qcs,qs->qc", stack.parts, vectors)
    of_new = stack.parts @ stack.vector(new)
    unit = stack.spread(of_known)
    even = unit / (stack.spread(of_new) or 1.0)

    def gained(room: tuple[float, float]) -> float:
        scale, unproven = room
        standing = np.float32(scale * even) * of_new + np.float32(unproven * unit)
        return float(stack.ndcg_of(standing + stack.own * (of_known - standing)).mean())

    scale, unproven = max(product(SCALES, UNPROVEN_BY), key=gained)
    scaled = {name: scale * even * weight for name, weight in new.items() if weight}
    return scaled | {UNPROVEN: unproven * unit}


@dataclass(frozen=True)
class Stack:
    """All examples as one padded array, so that a set of weights is judged in one product.

    Where nothing that was liked is among the candidates no weights gain anything: of those, only the number is kept.
    """

    names: list[str]
    told: Mask
    """(queries,) True where something that was liked is among the candidates."""
    parts: NDArray[np.float32]
    """(told, candidates, sources) z-scores."""
    padding: NDArray[np.float32]
    """(told, candidates) -inf where a query has fewer candidates, else 0."""
    gains: NDArray[np.float32]
    """(told, candidates) 1 for a target."""
    own: NDArray[np.float32]
    """(told, candidates) 0 for a new item, towards 1 for a well-known one."""
    ideal: NDArray[np.float64]
    """(told,)"""

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "Stack":
        """Of at least one example."""
        names = sorted({name for example in examples for name in example.candidates.scores})
        found = np.array([bool(example.chosen.any()) for example in examples])
        telling = [example for example, told in zip(examples, found, strict=True) if told]
        widest = max([DEPTH, *(len(example.chosen) for example in telling)])
        parts = np.zeros((len(telling), widest, len(names)), dtype=np.float32)
        padding = np.full((len(telling), widest), -np.inf, dtype=np.float32)
        gains = np.zeros((len(telling), widest), dtype=np.float32)
        own = np.ones((len(telling), widest), dtype=np.float32)
        for row, example in enumerate(telling):
            n = len(example.chosen)
            padding[row, :n], gains[row, :n] = 0, example.chosen
            if example.candidates.own is not None:
                own[row, :n] = example.candidates.own
            for column, name in enumerate(names):
                if name in example.candidates.scores:
                    parts[row, :n, column] = standardise(example.candidates.scores[name])
        discounts = np.concatenate([[0], np.cumsum(discount(DEPTH))])
        ideal = discounts[np.array([min(e.targets, DEPTH) for e in telling], dtype=np.int64)]
        return cls(names, found, parts, padding, gains, own, ideal)

    def ndcg(self, weights: Weights) -> NDArray[np.float64]:
        """(queries,) NDCG@20 of each query."""
        return self.ndcg_of(self.parts @ self.vector(weights))

    def spread(self, scores: NDArray[np.float32]) -> float:
        """Standard deviation of (told, candidates) scores within a query, on average; 0 of none."""
        there = np.where(self.padding == 0, scores, np.nan)
        return float(np.nanstd(there, axis=1).mean()) if len(there) else 0.0

    def vector(self, weights: Weights) -> NDArray[np.float32]:
        """(sources,)"""
        return np.array([weights.get(name, 0) for name in self.names], dtype=np.float32)

    def ndcg_of(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """(queries,) NDCG@20 of each query, of (told, candidates) scores."""
        scores = scores + self.padding
        top = np.argpartition(-scores, DEPTH - 1, axis=1)[:, :DEPTH]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        gains = np.take_along_axis(self.gains, np.take_along_axis(top, order, axis=1), axis=1)
        found = np.zeros(len(self.told))
        found[self.told] = (gains @ discount(DEPTH)) / self.ideal
        return found


def discount(k: int) -> NDArray[np.float64]:
    """(k,) 1 / log2(rank + 1) for ranks 1..k."""
    return 1 / np.log2(np.arange(2, k + 2))
