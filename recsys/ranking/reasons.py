"""Why an item is suggested: the phrases that say so, and the deeds that they tell of.

Both are numbers until they are shown: a deed is a code, a reason the number of a phrase and of the item it names.
"""

from collections.abc import Iterable, Set
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.identity import Mask, Ordinals

CONTEXT = "context"
"""The 'event type' of an item that the viewer is looking at right now."""

FALLBACK = ("popular", "trending", "new")
"""Where more items come from, in this order, when the sources cannot fill a slate; then the whole catalogue."""


class Phrase(NamedTuple):
    """A reason in words; the title of an item stands between the two, if it names one."""

    before: str
    after: str = ""


_DONE = {
    "purchase": Phrase("because you bought *", "*"),
    "view": Phrase("because you viewed *", "*"),
    "click": Phrase("because you clicked *", "*"),
    "like": Phrase("because you liked *", "*"),
    "rating": Phrase("because you liked *", "*"),
    "add_to_cart": Phrase("because you put *", "* in the cart"),
    "": Phrase("because of *", "*"),
}
"""By event type; "": any other."""
_STANDING = {
    "popular": Phrase("popular right now"),
    "trending": Phrase("trending right now"),
    "new": Phrase("a new arrival"),
    "factors": Phrase("matches your taste"),
    "text_taste": Phrase("matches your taste"),
    "image_taste": Phrase("matches your taste"),
    "text": Phrase("matches your search"),
    "image": Phrase("looks like what you search for"),
    "boost": Phrase("promoted"),
    "rules": Phrase("promoted by the shop"),
}
SOUGHT = {"text", "image"}
"""Parts that name an item, unless something is sought."""

_PAGE = {"text": Phrase("reads like *", "*"), "image": Phrase("looks like *", "*")}
_ON_PAGE = Phrase("goes with *", "*")
_NOTHING = Phrase("from the catalogue")
_PINNED = Phrase("picked by the shop")

DEEDS = (*_DONE, CONTEXT)
"""What a viewer did with an item, as far as it is told apart; a deed is a position here."""

PHRASES = tuple(
    dict.fromkeys(
        (*_DONE.values(), *_STANDING.values(), *_PAGE.values(), _ON_PAGE, _NOTHING, _PINNED)
    )
)

PINNED = PHRASES.index(_PINNED)
"""The reason of an item that a rule has put into its place."""

Deeds = NDArray[np.int32]


def deeds(types: Iterable[str]) -> Deeds:
    """(n,) of event types."""
    known = {name: code for code, name in enumerate(DEEDS)}
    return np.array([known.get(name, known[""]) for name in types], dtype=np.int32)


class Phrasing(NamedTuple):
    """What the parts of a score say."""

    speaks: Mask
    """(parts,) whether each is a reason without naming an item."""
    phrases: Ordinals
    """(parts + 1, 1 + deeds) positions in `PHRASES`: of a part that names no item, and of one that names an item with
    which each deed was done. The last row is for where no part speaks."""


@lru_cache
def phrasing(names: tuple[str, ...], only: Set[str], searched: bool) -> Phrasing:
    """names: of the parts. only: sources that alone were asked, if any. searched: whether something is sought."""
    otherwise = next((_STANDING[name] for name in FALLBACK if name in only), _NOTHING)
    rows = [
        [_STANDING.get(name, _NOTHING), *(_because(name, deed) for deed in DEEDS)] for name in names
    ]
    number = {phrase: n for n, phrase in enumerate(PHRASES)}
    rows.append([otherwise] * (1 + len(DEEDS)))
    return Phrasing(
        np.array([name in _STANDING and (searched or name not in SOUGHT) for name in names], bool),
        np.array([[number[phrase] for phrase in row] for row in rows], np.int64),
    )


def _because(source: str, deed: str) -> Phrase:
    return _PAGE.get(source, _ON_PAGE) if deed == CONTEXT else _DONE[deed]
