"""LambdaMART (Burges 2010, as LightGBM has it) on top of the blend: what no weighted sum can say.

    score = blend + sum over the trees of a leaf

The trees are fitted to raise NDCG from where the blend ends, so a score keeps the blend's unit, and items
that the trees cannot tell apart keep the blend's order. What they add is split exactly among the features
of an item (SHAP values; Lundberg et al. 2020).
"""

# ruff: noqa: PLC0415  LightGBM takes a second to import: not before there is a ranker

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsys.errors import BuildError
from recsys.identity import Floats, Mask, Ordinals
from recsys.ranking.candidates import Candidates, Query
from recsys.ranking.features import CONTEXTUAL, Features

if TYPE_CHECKING:
    import lightgbm

RANKER = "ranker"
"""Its part of a score before it is split, and its name where it has failed."""

BASE = "base"
"""The part of a score that the trees give to every item alike."""

TREES = 100
LEAST_IN_LEAF = 200
"""Candidates that a leaf must hold at the least; fewer where there are few in all."""

PARAMETERS: dict[str, object] = {
    "objective": "lambdarank",
    "lambdarank_truncation_level": 30,
    "learning_rate": 0.05,
    "num_leaves": 7,
    "lambda_l2": 5.0,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,  # more wait for one another by spinning: on a busy machine a hundred times slower
    "verbose": -1,
}


@dataclass(frozen=True, eq=False)
class Ranker:
    """Trees, and what they are told. Immutable and thread-safe."""

    booster: "lightgbm.Booster"
    sources: tuple[str, ...]
    """Whose opinions it hears."""
    features: Features

    @classmethod
    def read(cls, model: str, features: Features) -> "Ranker":
        """From LightGBM's text. Raises LightGBMError if it is none, ValueError for features that are not ours."""
        booster = _lightgbm().Booster(model_str=model)
        names = tuple(booster.feature_name())
        sources, context = names[: -len(CONTEXTUAL)], names[-len(CONTEXTUAL) :]
        if context != CONTEXTUAL:
            raise ValueError(f"a ranker of {', '.join(context)}, expected {', '.join(CONTEXTUAL)}")
        return cls(booster, sources, features)

    def judge(self, query: Query, candidates: Candidates, blended: Floats) -> "Lift":
        """What it adds to the blend's score of each candidate."""
        table = self.features.table(self.sources, query, candidates, blended)
        return Lift(self, table, self.scores(table).astype(np.float32))

    def scores(self, table: Floats) -> NDArray[np.float64]:
        """(n,) what the trees make of each row of a table of features."""
        if not len(table):
            return np.empty(0)
        return np.asarray(self.booster.predict(table, raw_score=True, num_threads=1))

    def contributions(self, table: Floats) -> dict[str, NDArray[np.float64]]:
        """Feature -> (n,) its part of `scores`, and `BASE`; features without any are left out. They add up."""
        names = (*self.sources, *CONTEXTUAL, BASE)
        found = np.asarray(self.booster.predict(table, pred_contrib=True, num_threads=1))
        return {name: part for name, part in zip(names, found.T, strict=True) if part.any()}


@dataclass(frozen=True, eq=False)
class Lift:
    """What a ranker adds to the blend's scores of one query's candidates."""

    ranker: Ranker
    table: Floats
    scores: Floats
    """(n,)"""

    def parts(self, chosen: Ordinals) -> dict[str, Floats]:
        """Feature -> (len(chosen),) its part of the scores of those at these positions."""
        found = self.ranker.contributions(self.table[chosen]) if len(chosen) else {}
        return {name: part.astype(np.float32) for name, part in found.items()}


@dataclass(frozen=True, eq=False)
class Lesson:
    """One held-out query for a ranker to learn from."""

    table: Floats
    """(n, features)"""
    blended: Floats
    """(n,) the blend's scores, from which the trees set out."""
    chosen: Mask
    """(n,) True for targets: some of them, or there is nothing to learn."""


def fit_ranker(sources: Sequence[str], lessons: Sequence[Lesson], seed: int) -> str:
    """LightGBM's text of a ranker, of at least one lesson. The same lessons and seed give the same."""
    lightgbm = _lightgbm()
    data = lightgbm.Dataset(
        np.concatenate([lesson.table for lesson in lessons]),
        np.concatenate([lesson.chosen for lesson in lessons]),
        group=[len(lesson.chosen) for lesson in lessons],
        init_score=np.concatenate([lesson.blended for lesson in lessons]),
        feature_name=[*sources, *CONTEXTUAL],
    )
    rows = sum(len(lesson.chosen) for lesson in lessons)
    own = {"min_data_in_leaf": max(1, min(LEAST_IN_LEAF, rows // 100)), "seed": seed}
    booster = lightgbm.train(PARAMETERS | own, data, TREES)
    return str(booster.model_to_string())


def _lightgbm() -> ModuleType:
    """Raises BuildError where a system library is missing."""
    try:
        import lightgbm
    except OSError as error:
        raise BuildError(
            f"LightGBM cannot be loaded: {error}. It needs OpenMP: install the system's package for it "
            '(Debian: `apt-get install libgomp1`), or set ranking.ranker to "blend"'
        ) from None
    return lightgbm
