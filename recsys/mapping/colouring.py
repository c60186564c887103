"""Which category a point shows: the most frequent ones have a colour each, and all others share one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.catalogue.item_table import ItemTable
from recsys.identity import ABSENT, Ordinals

COLOURS = 12
"""As many as can be told apart."""

TELLING = 0.6
"""Share of the items above which a category says nothing of them, as the name of the shop would."""


class Colouring(NamedTuple):
    """The colours of n items."""

    names: Sequence[str]
    """Categories that have a colour, the one with the most items first; at most `COLOURS`."""
    codes: NDArray[np.uint8]
    """(n,) into `names`; `len(names)` for the others, and where an item has no category."""


def coloured(items: ItemTable) -> Colouring:
    """An item shows the rarest of its categories that have a colour: it says the most."""
    row, code, known = items.category_codes
    sizes = np.bincount(code, minlength=known)
    frequent = _frequent(sizes, len(items))
    shown = np.full(known, len(frequent))
    shown[frequent] = np.arange(len(frequent))
    codes = np.full(len(items), ABSENT)
    has = shown[code] < len(frequent)
    np.maximum.at(codes, row[has], shown[code[has]])
    codes[codes == ABSENT] = len(frequent)
    lists: Any = items.data["categories"].combine_chunks()
    names = pc.list_flatten(lists).dictionary_encode().dictionary  # as the codes have them
    return _by_size([str(names[int(one)]) for one in frequent], codes)


def _frequent(sizes: Ordinals, count: int) -> Ordinals:
    """At most `COLOURS` categories, the largest first. Those of nearly all items only where there are no others."""
    order = np.argsort(-sizes, kind="stable")
    telling = order[sizes[order] <= TELLING * count]
    return (telling if len(telling) else order)[:COLOURS]


def _by_size(names: Sequence[str], codes: Ordinals) -> Colouring:
    """By the number of items that show each; none that no item shows."""
    sizes = np.bincount(codes, minlength=len(names) + 1)[: len(names)]
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0]
    place = np.full(len(names) + 1, len(order), dtype=np.uint8)
    place[order] = np.arange(len(order))
    return Colouring([names[int(one)] for one in order], place[codes])
