"""What ranking asks of each item, worked out when a snapshot is written, so that who loads it only maps it.

items, spaces, preference -> Facts
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.item_table import ItemTable
from recsys.compiling import compiled, fixed
from recsys.identity import Floats, Mask, Ordinals
from recsys.index.duplicates import Duplicates, near_duplicates
from recsys.index.space import Space
from recsys.preference.models import Preference
from recsys.preference.sparse import read_array, write_array

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

MATRICES = ("cooccurrence", "transitions", "linear")
"""Of item-to-item weights."""

COMPOSED = ("groups", "duplicates")
"""Fields of `Facts` that are several arrays."""


@dataclass(frozen=True, eq=False)
class Facts:
    """Of n items. Arrays are read-only."""

    records: NDArray[np.void]
    """(n,) `FACTS`"""
    available: Mask
    """(n,) False for what is never shown: it is looked at more often than the other facts."""
    newest: Ordinals
    """What is available, the newest first."""
    moments: Ordinals
    """When each of those was published, negative, so that they ascend."""
    popular: Ordinals
    """What somebody likes and is available, most liked first."""
    trending: Ordinals
    """What gains and is available, by how much."""
    groups: "Groups"
    duplicates: Duplicates

    @classmethod
    def of(cls, items: ItemTable, spaces: Mapping[str, Space], preference: Preference) -> "Facts":
        """Work them out."""
        count, factors = len(items), preference.factors
        popular = _or_nothing(preference.popularity.popular)
        trend = _or_nothing(preference.popularity.trending)
        values = {
            "shown_from": np.where(items.available, items.shown_from, NEVER),
            "expires_at": items.expires_at,
            "published_at": items.published_at,
            "popular": popular,
            "trending": trend,
            "returns": preference.returns,
            "own": preference.own,
        }
        rows = {name: W.indices for name, (W, _) in preference.rows.items()}
        vectors = {name: space.present for name, space in spaces.items()}
        judged = judged_by(count, rows, vectors, None if factors is None else factors.items)
        records = records_of(count, values, judged)
        return cls(
            fixed(records),
            fixed(records["shown_from"] != NEVER),
            *newest_first(records),
            best_first(popular * items.available),
            best_first(trend * items.available),
            Groups.of(items),
            near_duplicates(items, spaces),
        )

    def equals(self, other: "Facts") -> bool:
        """Whether all arrays are the same."""
        pairs = zip(self._parts().values(), other._parts().values(), strict=True)
        return all(np.array_equal(one, another) for one, another in pairs)

    def write(self, folder: Path) -> None:
        """Write .npy files into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in self._parts().items():
            write_array(array, folder / f"{name}.npy")

    def _parts(self) -> dict[str, NDArray[Any]]:
        own = {name: array for name, array in vars(self).items() if name not in COMPOSED}
        for name in COMPOSED:
            parts = getattr(self, name)._asdict().items()
            own |= {f"{name}.{part}": np.asarray(value) for part, value in parts}
        return own

    @classmethod
    def load(cls, folder: Path) -> "Facts":
        """Read what `write` wrote; the arrays stay in their files until they are touched."""

        def read(*names: str) -> list[NDArray[Any]]:
            return [fixed(read_array(folder / f"{name}.npy")) for name in names]

        names = [each.name for each in fields(cls) if each.name not in COMPOSED]
        own: Any = dict(zip(names, read(*names), strict=True))
        ends, codes, brands, total = read(*(f"groups.{part}" for part in Groups._fields))
        duplicates = read(*(f"duplicates.{part}" for part in Duplicates._fields))
        groups = Groups(ends, codes, brands.item(), total.item())
        return cls(**own, groups=groups, duplicates=Duplicates(*duplicates))


class Groups(NamedTuple):
    """The brand and the categories of every item, numbered through."""

    ends: Ordinals
    """(n + 1,) those of item i are codes[ends[i]:ends[i + 1]]."""
    codes: NDArray[np.int32]
    brands: int
    """Codes below this are brands, the others categories."""
    total: int

    @classmethod
    def of(cls, items: ItemTable) -> "Groups":
        """Number them."""
        rows, codes, count = items.category_codes
        branded, brands = np.flatnonzero(items.brand_codes >= 0), len(items.brands)
        row = np.concatenate([branded, rows])
        code = np.concatenate([items.brand_codes[branded], codes + brands])
        order = np.argsort(row, kind="stable")
        ends = np.zeros(len(items) + 1, dtype=np.int64)
        ends[1:] = np.bincount(row, minlength=len(items)).cumsum()
        return cls(fixed(ends), fixed(code[order].astype(np.int32)), brands, brands + count)


def records_of(
    count: int, values: Mapping[str, NDArray[Any]], judged: NDArray[np.int32]
) -> NDArray[np.void]:
    """(count,) `FACTS`. values: by name; what is missing is nothing, or no bound."""
    records = _aligned(count)
    records["shown_from"], records["expires_at"] = -NEVER, NEVER
    for name, column in values.items():
        records[name] = column
    records["judged_by"] = judged
    return records


def newest_first(records: NDArray[np.void]) -> tuple[Ordinals, Ordinals]:
    """`Facts.newest`, `Facts.moments`: the lower item first among equals."""
    by_age = np.argsort(-records["published_at"], kind="stable")
    by_age = by_age[records["shown_from"][by_age] != NEVER]
    return fixed(by_age), fixed(-records["published_at"][by_age])


def best_first(values: Floats) -> Ordinals:
    """The items with values above 0, the highest first; the lower item first among equals."""
    liked = np.flatnonzero(values > 0)
    return fixed(liked[np.argsort(-values[liked], kind="stable")])


def judged_by(
    count: int,
    rows: Mapping[str, NDArray[np.int32]],
    vectors: Mapping[str, Mask],
    factors: Floats | None,
) -> NDArray[np.int32]:
    """(count,) bits of the sources that know each item.

    rows: the columns of each matrix' weights. vectors: kind of content -> which items have one.
    """
    with ThreadPoolExecutor() as pool:
        reached = pool.map(lambda columns: _reached(columns, count), rows.values())
        known = dict(zip(rows, reached, strict=True))
    for name, present in vectors.items():
        known |= {name: present, f"{name}_taste": present}
    if factors is not None:
        known["factors"] = ~np.isnan(factors[:, 0])
    bits = np.zeros(count, dtype=np.int32)
    for name, some in known.items():
        bits |= np.int32(1 << PLACES[name]) * some
    return bits


@compiled
def _reached(indices: NDArray[np.int32], count: int) -> Mask:
    """(count,) True for what is among the indices: numpy would first copy all of them."""
    found = np.zeros(count, dtype=np.bool_)
    for item in indices:
        found[item] = True
    return found


def _aligned(count: int) -> NDArray[np.void]:
    """Records that each begin where a line of the cache does."""
    size = FACTS.itemsize
    room = np.zeros(count * size + size, dtype=np.uint8)
    first = -room.ctypes.data % size
    return room[first : first + count * size].view(FACTS)


def _or_nothing(values: Floats) -> Floats:
    """0 where nothing is known."""
    return np.where(np.isnan(values), np.float32(0), values)
