"""All that a snapshot knows of its items, as the arrays that the kernels read.

Every source of the blend has a place here, whether the snapshot knows anything of its kind or not: so there is one
compiled program for all snapshots. What ranking asks of each candidate lies together in one record, since memory is
what it waits for.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba.core import types
from numba.experimental import structref
from numpy.typing import NDArray

from recsys.compiling import compiled, fixed
from recsys.identity import Floats, Mask, Ordinals
from recsys.index.space import Space
from recsys.preference.interactions import DAY
from recsys.preference.sparse import Sparse
from recsys.snapshot import Artefacts

SOURCES = (
    "cooccurrence",
    "transitions",
    "linear",
    "factors",
    "again",
    "text",
    "image",
    "text_taste",
    "image_taste",
    "popular",
    "trending",
    "new",
)
"""Behaviour: sums of rows of item-to-item weights, matrix factors, and what was liked before. Content: what is near
a seed, and what is near all that was liked at once. Nobody in particular: what is liked, gains, or is new.
"""

(
    COOCCURRENCE,
    TRANSITIONS,
    LINEAR,
    FACTORS,
    AGAIN,
    TEXT,
    IMAGE,
    TEXT_TASTE,
    IMAGE_TASTE,
    POPULAR,
    TRENDING,
    NEW,
) = range(len(SOURCES))

PLACES = {name: place for place, name in enumerate(SOURCES)}

FINDERS = {"factors": "cooccurrence", "text_taste": "text", "image_taste": "image"}
"""Those that only judge, and the source that finds for each; all others find for themselves."""

NEW_HALF_LIFE_DAYS = 14.0
"""A new item's newness halves in this time."""

NEVER = np.iinfo(np.int64).max

FACTS = np.dtype(
    {
        "names": [
            "shown_from",
            "expires_at",
            "published_at",
            "popular",
            "trending",
            "returns",
            "own",
            "judged_by",
        ],
        "formats": ["<i8", "<i8", "<i8", "<f4", "<f4", "<f4", "<f4", "<i4"],
        "offsets": [0, 8, 16, 24, 28, 32, 36, 40],
        "itemsize": 64,
    }
)
"""What is known of an item: a line of the processor's cache.

shown_from, expires_at, published_at: microseconds (shown_from: `NEVER` for what is not available). popular, trending:
0 for nobody's choice. returns: how much people come back to it. own: what its own behaviour counts against what is
lent to it, 0 for a new item, towards 1. judged_by: bit s for a source that knows it.
"""


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
    facts = _aligned(count)
    facts["shown_from"], facts["expires_at"] = -NEVER, NEVER
    facts["published_at"] = np.zeros(count) if published_at is None else published_at
    for name, column in (values or {}).items():
        facts[name] = column
    facts["judged_by"] = _bits(_judges(parts, count), count)
    by_age = np.argsort(-facts["published_at"], kind="stable")
    found: dict[str, Any] = dict.fromkeys(
        ("cooccurrence", "transitions", "linear"), _no_rows(count)
    )
    found |= {
        "factors": NO_TASTES,
        "again": Again(0.0, 1.0),
        "text": NO_CONTENT,
        "image": NO_CONTENT,
    }
    found |= {"popular": NO_ORDER, "trending": NO_ORDER, "half_life": NEW_HALF_LIFE_DAYS * DAY}
    available = facts["shown_from"] != NEVER
    by_age = by_age[available[by_age]]
    found |= {"newest": fixed(by_age), "moments": fixed(-facts["published_at"][by_age])}
    return Knowledge(facts=fixed(facts), available=fixed(available), **found | parts)


def knowledge_of(artefacts: Artefacts) -> Knowledge:
    """What a build made. Large arrays stay where they are."""
    preference, items = artefacts.preference, artefacts.items
    fading, popularity = preference.settings, preference.popularity
    popular, trend = _or_nothing(popularity.popular), _or_nothing(popularity.trending)
    parts: dict[str, Any] = {name: item_weights(*each) for name, each in preference.rows.items()}
    fades = {"text": fading.text_fading, "image": fading.image_fading}
    parts |= {name: content(space, fades[name]) for name, space in artefacts.spaces.items()}
    if preference.factors is not None:
        factors = preference.factors
        parts["factors"] = Tastes(
            fixed(factors.items), float(factors.alpha), float(fading.factors_fading)
        )
    lasting = round(fading.trending_days * DAY)
    return knowing(
        len(items),
        {
            "shown_from": np.where(items.available, items.shown_from, NEVER),
            "expires_at": items.expires_at,
            "popular": popular,
            "trending": trend,
            "returns": preference.returns,
            "own": preference.own,
        },
        items.published_at,
        again=Again(fading.again_fading, fading.again_power),
        popular=standing(popular * items.available, NEVER),
        trending=standing(trend * items.available, popularity.as_of + lasting),
        **parts,
    )


def known_sources(artefacts: Artefacts) -> frozenset[str]:
    """Those of which a snapshot knows something."""
    missing = {name for name in ("text", "image") if name not in artefacts.spaces}
    missing |= {f"{name}_taste" for name in missing}
    missing |= {"cooccurrence", "transitions", "linear"} - set(artefacts.preference.rows)
    missing |= {"factors"} if artefacts.preference.factors is None else set()
    return frozenset(SOURCES) - missing


def standing(values: Floats, until: int) -> Standing:
    """The items with values above 0, the highest first; the lower item first among equals."""
    liked = np.flatnonzero(values > 0)
    return Standing(fixed(liked[np.argsort(-values[liked], kind="stable")]), until)


def _or_nothing(values: Floats) -> Floats:
    """0 where nothing is known."""
    return np.where(np.isnan(values), np.float32(0), values)


def _aligned(count: int) -> NDArray[np.void]:
    """Records that each begin where a line of the cache does."""
    size = FACTS.itemsize
    room = np.zeros(count * size + size, dtype=np.uint8)
    first = -room.ctypes.data % size
    return room[first : first + count * size].view(FACTS)


def _judges(parts: Mapping[str, Any], count: int) -> dict[str, Mask]:
    """Source -> (count,) the items that its part knows."""
    matrices = [name for name in ("cooccurrence", "transitions", "linear") if name in parts]
    with ThreadPoolExecutor() as pool:
        reached = pool.map(lambda name: _reached(parts[name].indices, count), matrices)
        found = dict(zip(matrices, reached, strict=True))
    for name in ("text", "image"):
        if name in parts:
            found[name] = found[f"{name}_taste"] = parts[name].present
    if "factors" in parts:
        found["factors"] = ~np.isnan(parts["factors"].items[:, 0])
    return found


@compiled
def _reached(indices: NDArray[np.int32], count: int) -> Mask:
    """(count,) True for what is among the indices: numpy would first copy all of them."""
    found = np.zeros(count, dtype=np.bool_)
    for item in indices:
        found[item] = True
    return found


def _bits(judges: Mapping[str, Mask], count: int) -> NDArray[np.int32]:
    bits = np.zeros(count, dtype=np.int32)
    for name, known in judges.items():
        bits |= np.int32(1 << PLACES[name]) * known
    return bits


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
