"""All that a snapshot knows of its items, as the arrays that the kernels read.

Every source of the blend has a place here, whether the snapshot knows anything of its kind or not: so there is one
compiled program for all snapshots. What ranking asks of each candidate lies together in one record, since memory is
what it waits for.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba.core import types
from numba.experimental import structref
from numpy.typing import NDArray

from recsys.compiling import compiled, fixed
from recsys.facts import (
    MATRICES,
    NEVER,
    SOURCES,
    judged_by,
    newest_first,
    records_of,
)
from recsys.identity import Floats, Mask, Ordinals
from recsys.index.space import Space
from recsys.preference.interactions import DAY
from recsys.preference.sparse import Sparse
from recsys.snapshot import Artefacts

FINDERS = {"factors": "cooccurrence", "text_taste": "text", "image_taste": "image"}
"""Those that only judge, and the source that finds for each; all others find for themselves."""

NEW_HALF_LIFE_DAYS = 14.0
"""A new item's newness halves in this time."""


class Rows(NamedTuple):
    """Item-to-item weights: the row of a seed (CSR form, the largest first), added up over the seeds."""

    indptr: Ordinals
    indices: NDArray[np.int32]
    data: Floats
    fading: float


class Near(NamedTuple):
    """A kind of content: the neighbours of each item, and its vector in few bits."""

    neighbours: NDArray[np.int32]
    """(n, kept or more) nearest first; `ABSENT` where there are no more."""
    similarity: Floats
    """(n, kept or more)"""
    kept: int
    present: Mask
    """(n,) True where an item has a vector."""
    codes: NDArray[np.int8]
    """(n, dim) unit rows * scale; zero where an item has no vector."""
    scale: float
    fading: float


class Tastes(NamedTuple):
    """Factors of items, and what folds a viewer in."""

    items: Floats
    """(n, d)"""
    alpha: float
    fading: float


class Standing(NamedTuple):
    """The same for every viewer: the items in order, best first."""

    order: Ordinals
    until: int
    """Microseconds: after this nobody knows what holds. Asked for by name, it still says what was."""


class Again(NamedTuple):
    """How what was liked before is wished for again."""

    fading: float
    power: float


class Knowledge(NamedTuple):
    """Of n items."""

    facts: NDArray[np.void]
    """(n,) `FACTS`"""
    available: Mask
    """(n,) False for what is never shown: it is looked at more often than the other facts."""
    cooccurrence: Rows
    transitions: Rows
    linear: Rows
    factors: Tastes
    again: Again
    text: Near
    image: Near
    popular: Standing
    trending: Standing
    newest: Ordinals
    """What is available, the newest first."""
    moments: Ordinals
    """When each of those was published, negative, so that they ascend."""
    half_life: float
    """Microseconds."""


@structref.register
class _HeldType(types.StructRef):
    """To the compiler."""


class Held(structref.StructRefProxy):
    """The same where the kernels hold it: to hand over one object takes a tenth of the time that 45 arrays take."""

    if TYPE_CHECKING:
        arrays: Knowledge


structref.define_proxy(Held, _HeldType, ["arrays"])  # type: ignore[no-untyped-call]


@compiled
def held(knowledge: Knowledge) -> Held:
    """Hand it to the kernels, once for many calls."""
    return Held(knowledge)  # type: ignore[no-untyped-call]


def knowing(
    count: int,
    values: Mapping[str, NDArray[Any]] | None = None,
    published_at: Ordinals | None = None,
    **parts: Any,  # noqa: ANN401  each has a type of its own
) -> Knowledge:
    """Of so many items nothing but this. values: (count,) of `FACTS`. parts: of `Knowledge`."""
    published = np.zeros(count) if published_at is None else published_at
    given: Any = {"published_at": published} | dict(values or {})
    rows = {name: parts[name].indices for name in MATRICES if name in parts}
    kinds = [name for name in ("text", "image") if name in parts]
    vectors = {str(name): parts[name].present for name in kinds}
    factors = parts["factors"].items if "factors" in parts else None
    records = records_of(count, given, judged_by(count, rows, vectors, factors))
    newest, moments = newest_first(records)
    nobody = {"popular": NO_ORDER, "trending": NO_ORDER, "again": Again(0.0, 1.0)}
    return Knowledge(
        **{
            "facts": fixed(records),
            "available": fixed(records["shown_from"] != NEVER),
            "newest": newest,
            "moments": moments,
        }
        | nobody
        | _none(count)
        | parts
    )


def knowledge_of(artefacts: Artefacts) -> Knowledge:
    """What a build made. Large arrays stay where they are."""
    preference, facts = artefacts.preference, artefacts.facts
    fading, factors = preference.settings, preference.factors
    parts: dict[str, Any] = {name: item_weights(*each) for name, each in preference.rows.items()}
    fades = {"text": fading.text_fading, "image": fading.image_fading}
    parts |= {name: content(space, fades[name]) for name, space in artefacts.spaces.items()}
    if factors is not None:
        alpha, fades_by = float(factors.alpha), float(fading.factors_fading)
        parts["factors"] = Tastes(fixed(factors.items), alpha, fades_by)
    trend_ends = preference.popularity.as_of + round(fading.trending_days * DAY)
    return Knowledge(
        facts=facts.records,
        available=facts.available,
        newest=facts.newest,
        moments=facts.moments,
        popular=Standing(facts.popular, NEVER),
        trending=Standing(facts.trending, trend_ends),
        again=Again(fading.again_fading, fading.again_power),
        **_none(len(artefacts.items)) | parts,
    )


def _none(count: int) -> dict[str, Any]:
    """What stands for each model and each kind of content that there is not."""
    found: dict[str, Any] = dict.fromkeys(MATRICES, _no_rows(count))
    found |= {"factors": NO_TASTES, "text": NO_CONTENT, "image": NO_CONTENT}
    return found | {"half_life": NEW_HALF_LIFE_DAYS * DAY}


def known_sources(artefacts: Artefacts) -> frozenset[str]:
    """Those of which a snapshot knows something."""
    missing = {name for name in ("text", "image") if name not in artefacts.spaces}
    missing |= {f"{name}_taste" for name in missing}
    missing |= set(MATRICES) - set(artefacts.preference.rows)
    missing |= {"factors"} if artefacts.preference.factors is None else set()
    return frozenset(SOURCES) - missing


def item_weights(W: Sparse, fading: float) -> Rows:
    """A matrix of item-to-item weights; a seed's row is what it leads to."""
    indptr = np.asarray(W.indptr, dtype=np.int64)
    indices = np.asarray(W.indices, dtype=np.int32)
    return Rows(fixed(indptr), fixed(indices), fixed(W.data), float(fading))


def content(space: Space, fading: float) -> Near:
    """A kind of content."""
    near = (fixed(space.nearest), fixed(space.nearness), space.kept, fixed(space.present))
    return Near(*near, fixed(space.codes), float(space.scale), float(fading))


def _nothing(*shape: int, of: type = np.float32) -> NDArray[Any]:
    return fixed(np.empty(shape, dtype=of))


NO_CONTENT = Near(
    _nothing(0, 0, of=np.int32),
    _nothing(0, 0),
    0,
    _nothing(0, of=np.bool_),
    _nothing(0, 0, of=np.int8),
    1.0,
    0.0,
)
NO_TASTES = Tastes(_nothing(0, 0), 0.0, 0.0)
NO_ORDER = Standing(_nothing(0, of=np.int64), NEVER)


def _no_rows(count: int) -> Rows:
    indptr = np.zeros(count + 1, dtype=np.int64)
    return Rows(fixed(indptr), _nothing(0, of=np.int32), _nothing(0), 0.0)
