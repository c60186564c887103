"""The settings of each model of taste, found on validation questions: what a model alone ranks best with.

questions -> Panel;  settings -> model -> Panel -> NDCG@20;  one setting at a time climbs its ladder

A model is judged by full ranking of the whole catalogue. Settings that were given are not touched.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.event_log import EventLog
from recsys.config import PreferenceSettings, Section, Settings
from recsys.evaluation.metrics import hits, ndcg, padded
from recsys.evaluation.split import Question
from recsys.identity import NOTHING, Floats, Ordinals
from recsys.index.space import Space
from recsys.preference.cold import ContentPrior
from recsys.preference.cooccurrence import fit_cooccurrence
from recsys.preference.factors import fit_factors
from recsys.preference.interactions import interactions
from recsys.preference.linear import fit_linear
from recsys.preference.sparse import Sparse, assemble, sharpened
from recsys.preference.transitions import fit_transitions, sequences
from recsys.ranking.blend import DEPTH
from recsys.ranking.block import Block
from recsys.ranking.kernels import NEWEST_SEEDS
from recsys.ranking.knowledge import Again, knowing
from recsys.ranking.sources import Alone
from recsys.threads import one_blas_thread

LEAST_GAIN = 0.002
"""Share by which a step must better the model: smaller ones are chance, and cost a fit."""

SWEEPS = 2
"""Rounds over the settings of a model at the most."""

LINEAR_MEMORY_GB = 0.3
"""The linear model is searched among the 6,000 most liked items that this holds: its cost grows with their cube."""

SLOW_QUESTIONS = 1_000
"""Questions asked of a model that is slow to answer: one that folds in, or compares vectors."""

_BLOCK = 256

_AT_ONCE = 20_000_000
"""Similarities held at a time."""

_TENTHS = tuple(n / 10 for n in range(11))
_SHARPNESS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5)
_FADING = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)

LADDERS: dict[str, dict[str, tuple[float, ...]]] = {
    "cooccurrence": {
        "cooccurrence_to_exponent": _TENTHS,
        "cooccurrence_sharpness": _SHARPNESS,
        "cooccurrence_user_exponent": _TENTHS,
        "cooccurrence_from_exponent": _TENTHS,
        "cooccurrence_fading": _FADING,
    },
    "transitions": {
        "transitions_fading": _FADING,
        "transitions_back": (0.0, 0.25, 0.5, 0.75, 1.0),
        "transitions_decay": (0.0, 0.05, 0.1, 0.2, 0.35, 0.5),
        "transitions_from_exponent": _TENTHS,
        "transitions_to_exponent": _TENTHS,
        "transitions_user_exponent": _TENTHS,
        "transitions_sharpness": _SHARPNESS,
    },
    "linear": {
        "linear_fading": _FADING,
        "linear_sharpness": _SHARPNESS,
        "linear_text_weight": (0.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0),
        "linear_image_weight": (0.0, 50.0, 100.0, 200.0, 400.0, 800.0),
        "linear_ridge": (12.5, 25.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0),
        "linear_content_ridge": (1.25, 2.5, 5.0, 10.0, 20.0),
    },
    "factors": {
        "factors_fading": _FADING,
        "factors_alpha": (2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0),
        "factors_ridge": (2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0),
        "factors": (32, 64, 128, 256, 384),
    },
    "again": {"again_fading": _FADING, "again_power": (0.0, 0.5, 1.0, 1.5)},
    "text": {"text_fading": _FADING},
    "image": {"image_fading": _FADING},
}
"""Model -> setting -> values, in order. The settings that matter most come first, the costliest last."""

Searched = TypeVar("Searched", bound=Section)
"""Settings that are searched."""

Judge = Callable[[Searched], float]
"""Mean NDCG of a model with these settings."""

OfPreference = Judge[PreferenceSettings]


def search(
    known: EventLog,
    questions: Sequence[Question],
    n_items: int,
    spaces: Mapping[str, Space],
    priors: Mapping[str, ContentPrior],
    settings: Settings,
    start: PreferenceSettings | None = None,
) -> PreferenceSettings:
    """The settings that suit these questions, for models that know this log; those given stay as they are.

    start: where an earlier search ended.
    """
    found, fixed = settings.preference, settings.preference.model_fields_set
    if not found.search or not questions:
        return found
    if start is not None:
        searched = {name for ladders in LADDERS.values() for name in ladders} - fixed
        found = found.model_copy(update={name: getattr(start, name) for name in searched})
    judges = _judges(known, questions, n_items, spaces, priors, settings)
    for model, judge in judges.items():
        ladders = {name: values for name, values in LADDERS[model].items() if name not in fixed}
        found = climb(judge, found, _applicable(ladders, priors))
    return found


def search_again(
    questions: Sequence[Question],
    returns: Floats,
    settings: Settings,
    found: PreferenceSettings,
) -> PreferenceSettings:
    """The same for what people come back to; the questions are those of a shop that shows seen items."""
    fixed = settings.preference.model_fields_set
    ladders = {name: values for name, values in LADDERS["again"].items() if name not in fixed}
    if not found.search or not ladders:
        return found

    block = Block([question.query for question in questions])

    def judge(s: PreferenceSettings) -> float:
        again = Again(s.again_fading, s.again_power)
        knowledge = knowing(len(returns), {"returns": returns}, again=again)
        found = Alone("again", knowledge, block).best(DEPTH)
        return _mean_ndcg(padded(found, DEPTH), [question.targets for question in questions])

    return climb(judge, found, ladders)


def _applicable(
    ladders: Mapping[str, tuple[float, ...]], priors: Mapping[str, ContentPrior]
) -> dict[str, tuple[float, ...]]:
    """Without pictures there is nothing to learn about pictures."""
    lacking = {f"linear_{kind}_weight" for kind in ("text", "image") if kind not in priors}
    lacking |= set() if priors else {"linear_content_ridge"}
    return {name: values for name, values in ladders.items() if name not in lacking}


def climb(
    judge: Judge[Searched], start: Searched, ladders: Mapping[str, tuple[float, ...]]
) -> Searched:
    """Coordinate ascent: each setting in turn goes up or down its ladder for as long as the model gains.

    A setting is named as in `linear_ridge`, or `weights.view` for one of a group.
    """
    judge = _each_once(judge)
    best, reached = start, judge(start)
    for _ in range(1 if "factors" in ladders else SWEEPS):
        before = reached
        for name, ladder in ladders.items():
            best, reached = _along(judge, best, reached, name, ladder)
        if reached <= before * (1 + LEAST_GAIN):
            break
    return best


def _each_once(judge: Judge[Searched]) -> Judge[Searched]:
    """The same, that judges no settings twice."""
    judged: dict[str, float] = {}

    def remembering(settings: Searched) -> float:
        key = settings.model_dump_json()
        if key not in judged:
            judged[key] = judge(settings)
        return judged[key]

    return remembering


def _along(
    judge: Judge[Searched], best: Searched, reached: float, name: str, ladder: tuple[float, ...]
) -> tuple[Searched, float]:
    """From the rung nearest to where it stands; downwards only where upwards was no better."""
    at = int(np.argmin(np.abs(np.array(ladder) - _value(best, name))))
    for step in (1, -1):
        rung, first = at + step, reached
        while 0 <= rung < len(ladder):
            tried = _having(best, name, ladder[rung])
            score = judge(tried)
            if score <= reached * (1 + LEAST_GAIN):
                break
            best, reached, rung = tried, score, rung + step
        if reached > first:
            break
    return best, reached


def _value(settings: Section, name: str) -> float:
    group, _, member = name.partition(".")
    value = getattr(settings, group)
    return float(value[member] if member else value)


def _having(settings: Searched, name: str, value: float) -> Searched:
    group, _, member = name.partition(".")
    whole = {**getattr(settings, group), member: value} if member else value
    return settings.model_copy(update={group: whole})


@dataclass(frozen=True, eq=False)
class Panel:
    """Validation questions as arrays, to judge one model at a time."""

    row: Ordinals
    """(m,) the question of each item that a history holds."""
    item: Ordinals
    step: Ordinals
    """(m,) how many newer items there are in that history."""
    weight: Floats
    seen: list[Ordinals]
    targets: list[Ordinals]
    n_items: int

    @classmethod
    def of(cls, questions: Sequence[Question], n_items: int) -> "Panel":
        """The questions that have a history."""
        asked = [question for question in questions if len(question.query.history)]
        lengths = [len(question.query.history) for question in asked]
        histories = [question.query.history for question in asked]
        return cls(
            row=np.repeat(np.arange(len(asked)), lengths),
            item=_joined([history.items for history in histories], np.int64),
            step=_joined([np.arange(n) for n in lengths], np.int64),
            weight=_joined([history.weights for history in histories], np.float32),
            seen=[question.query.seen for question in asked],
            targets=[question.targets for question in asked],
            n_items=n_items,
        )

    def __len__(self) -> int:
        return len(self.targets)

    def histories(self, fading: float) -> Sparse:
        """(questions, items) what is left of each like."""
        weight = self.weight * np.exp(-fading * self.step)
        order = np.lexsort((self.item, self.row))
        ends = np.searchsorted(self.row, np.arange(len(self) + 1))
        return assemble(weight[order], self.item[order], ends, (len(self), self.n_items))

    def ndcg(self, score: Callable[[slice], Floats]) -> float:
        """Mean NDCG@20 of what `score` gives the rows of a slice, (rows, items); seen items are masked."""
        slates = []
        for start in range(0, len(self), _BLOCK):
            rows = slice(start, min(start + _BLOCK, len(self)))
            scores = score(rows)
            scores[np.isnan(scores)] = -np.inf
            for row, seen in enumerate(self.seen[rows]):
                scores[row, seen] = -np.inf
            slates.append(_best(scores))
        return _mean_ndcg(np.concatenate(slates), self.targets) if slates else 0.0

    def of_rows(self, W: Sparse | None, fading: float) -> float:
        """A model that sums rows of W."""
        if W is None:
            return 0.0
        Q = self.histories(fading)
        return self.ndcg(lambda rows: np.asarray((Q[rows] @ W).toarray()))

    def first(self, most: int) -> "Panel":
        """The first questions alone."""
        if len(self) <= most:
            return self
        end = int(np.searchsorted(self.row, most))
        return Panel(
            self.row[:end],
            self.item[:end],
            self.step[:end],
            self.weight[:end],
            self.seen[:most],
            self.targets[:most],
            self.n_items,
        )


def _joined(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype, copy=False)


def _best(scores: Floats) -> Ordinals:
    """(rows, DEPTH) the highest scores of each row, best first."""
    depth = min(DEPTH, scores.shape[1])
    best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def _mean_ndcg(slates: Ordinals, targets: Sequence[Ordinals]) -> float:
    wanted = np.array([len(items) for items in targets], dtype=np.int64)
    return float(ndcg(hits(slates, targets), wanted, DEPTH).mean())


def _judges(
    known: EventLog,
    questions: Sequence[Question],
    n_items: int,
    spaces: Mapping[str, Space],
    priors: Mapping[str, ContentPrior],
    settings: Settings,
) -> dict[str, OfPreference]:
    """Model -> how well it does alone. Fits are kept while only the fading changes."""
    panel = Panel.of(questions, n_items)
    slow = panel.first(SLOW_QUESTIONS)
    own, seed = settings.preference, settings.evaluation.seed
    X = interactions(known, n_items, settings.events, own.longest_history).matrix
    order = sequences(known, n_items, settings.events, own.longest_history)
    contents = {kind: prior.rows for kind, prior in priors.items() if prior.rows is not None}
    cooccurrence = lru_cache(1)(lambda s: fit_cooccurrence(X, s))
    transitions = lru_cache(1)(lambda s: fit_transitions(order, s))
    smaller = {
        "linear_memory_gb": min(own.linear_memory_gb, LINEAR_MEMORY_GB),
        "linear_sharpness": 1.0,
    }
    linear = lru_cache(1)(lambda s: fit_linear(X, contents, s.model_copy(update=smaller)))
    factors = lru_cache(1)(lambda s: fit_factors(X, s, seed))

    def of_factors(s: PreferenceSettings) -> float:
        fitted, Q = factors(_unfading(s)), slow.histories(s.factors_fading)
        if fitted is None:
            return 0.0
        liked = [Q.indices[a:b].astype(np.int64) for a, b in itertools.pairwise(Q.indptr)]
        weights = np.split(Q.data, Q.indptr[1:-1])
        with one_blas_thread():  # the solves are too small to share
            tastes = np.stack([fitted.fold_in(*one) for one in zip(liked, weights, strict=True)])
        return slow.ndcg(lambda rows: tastes[rows] @ fitted.items.T)

    def of_linear(s: PreferenceSettings) -> float:
        W = linear(_unfading(s).model_copy(update={"linear_sharpness": 1.0}))
        return panel.of_rows(
            None if W is None else sharpened(W, s.linear_sharpness), s.linear_fading
        )

    judges: dict[str, OfPreference] = {
        "cooccurrence": lambda s: panel.of_rows(cooccurrence(_unfading(s)), s.cooccurrence_fading),
    }
    if order.ordered and own.transitions_span:
        judges["transitions"] = lambda s: panel.of_rows(
            transitions(_unfading(s)), s.transitions_fading
        )
    judges["linear"] = of_linear
    judges["factors"] = of_factors
    for kind, space in spaces.items():
        judges[kind] = _nearest(slow, space, kind)
    return judges


def _nearest(panel: Panel, space: Space, kind: str) -> OfPreference:
    """The largest faded similarity to anything liked."""

    def judge(s: PreferenceSettings) -> float:
        Q = panel.histories(getattr(s, f"{kind}_fading"))
        seeds = [_strongest(Q[[row]]) for row in range(len(panel))]

        def scores(rows: slice) -> Floats:
            found = np.zeros((rows.stop - rows.start, panel.n_items), dtype=np.float32)
            for some in _few_at_a_time(seeds[rows], panel.n_items):
                faded = [space.rows[items] * left[:, None] for items, left in seeds[rows][some]]
                starts = np.cumsum([0, *map(len, faded[:-1])])
                similar = np.concatenate(faded) @ space.rows.T
                found[some] = np.maximum.reduceat(similar, starts, axis=0)
            return found

        return panel.ndcg(scores)

    return judge


_Seeds = tuple[NDArray[np.integer], Floats]
"""What somebody likes, and what is left of each like."""


def _strongest(history: Sparse) -> _Seeds:
    """At most `NEWEST_SEEDS` likes of a (1, n) history."""
    best = np.argsort(-history.data, kind="stable")[:NEWEST_SEEDS]
    best = best[history.data[best] > 0]
    return history.indices[best], history.data[best]


def _few_at_a_time(seeds: Sequence[_Seeds], n_items: int) -> Iterator[slice]:
    """Runs of questions whose likes, beside all items, fit `_AT_ONCE`; those without likes are left out."""
    start = likes = 0
    for row, (items, _) in enumerate([*seeds, (NOTHING, np.empty(0, np.float32))]):
        likes += len(items)
        if not len(items) or likes * n_items > _AT_ONCE:
            if row > start:
                yield slice(start, row)
            start, likes = (row, len(items)) if len(items) else (row + 1, 0)


def _unfading(settings: PreferenceSettings) -> PreferenceSettings:
    """The same for all settings that differ only in how a taste fades: nothing needs to be fitted again."""
    never = {name: 0.0 for name in PreferenceSettings.model_fields if name.endswith("_fading")}
    return settings.model_copy(update=never)
