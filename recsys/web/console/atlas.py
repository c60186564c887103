"""What the map draws: a place and a colour for every item, as few bytes.

    n x 2 bytes  how far to the right, of 65,535
    n x 2 bytes  how far down
    n x 1 byte   its colour; with `NOT_ON_OFFER`, or `NOWHERE` alone

n items in the order of the snapshot, whose titles are asked for as they are looked at.
"""

import gzip
import threading
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.identity import Floats, Mask
from recsys.mapping.colouring import Colouring, coloured
from recsys.mapping.ground import Kind, rows_of, with_new
from recsys.mapping.keeping import Kept, Layout, Mapper, State
from recsys.mapping.layout import FEW, sketch
from recsys.serving.live import Served

NOT_ON_OFFER, NOWHERE = 64, 255

FULL = 65_535

KINDS: tuple[Kind, ...] = ("text", "image", "taste")


class Key(NamedTuple):
    """What a picture is of."""

    snapshot: str
    kind: Kind
    laid_out: bool
    withdrawn: bytes

    def holds_with(self, other: "Key") -> bool:
        """Whether both may be asked for at one time."""
        return (self.snapshot, self.withdrawn) == (other.snapshot, other.withdrawn)


class Points:
    """All points of a map, as they are sent."""

    def __init__(
        self, places: Floats, colouring: Colouring, on_offer: Mask, seconds: float | None
    ) -> None:
        """places: (n, 2), NaN where an item has none. seconds: that the layout took; None for a sketch."""
        self.colouring, self.seconds = colouring, seconds
        self.there = ~np.isnan(places[:, 0])
        colours = colouring.codes | np.where(on_offer, 0, NOT_ON_OFFER).astype(np.uint8)
        x, y = _scaled(places[self.there], self.there)
        self.body = x.tobytes() + y.tobytes() + np.where(self.there, colours, NOWHERE).tobytes()
        self.withdrawn = int((self.there & ~on_offer).sum())

    @cached_property
    def packed(self) -> bytes:
        """By gzip."""
        return gzip.compress(self.body, 5, mtime=0)

    @cached_property
    def tag(self) -> str:
        """Another one for other points."""
        return f'"{blake2b(self.body, digest_size=12).hexdigest()}"'

    @property
    def sizes(self) -> list[int]:
        """Points of each colour, at last of the others."""
        names = len(self.colouring.names)
        counted = np.bincount(self.colouring.codes[self.there], minlength=names + 1)
        return [int(size) for size in counted]


class Atlas:
    """The maps of what is being served."""

    def __init__(self, home: Path) -> None:
        self.mapper = Mapper(Kept(home))
        self._made: dict[Key, Points] = {}
        self._lock = threading.Lock()

    def kinds(self, served: Served) -> list[Kind]:
        """Of which something is known."""
        return [kind for kind in KINDS if _has(served, kind)]

    def state(self, served: Served, kind: Kind) -> State:
        """How its layout is doing; has it made where nobody has. Few items are laid out as they are sketched."""
        if self.points(served, kind).there.sum() < FEW:
            return "kept"
        self.mapper.begin(served.manifest.origin, kind)
        return self.mapper.state(served.manifest.origin, kind)

    def points(self, served: Served, kind: Kind) -> Points:
        """The layout where there is one, else the sketch."""
        laid_out = self.mapper.state(served.manifest.origin, kind) == "kept"
        key = Key(served.manifest.id, kind, laid_out, served.withdrawn.tobytes())
        with self._lock:  # whoever comes meanwhile would make the same again
            if key in self._made:
                return self._made[key]
            kept = self.mapper.kept.read(served.manifest.origin, kind) if laid_out else None
            key = key._replace(laid_out=kept is not None)
            if key not in self._made:
                others = {k: made for k, made in self._made.items() if k.holds_with(key)}
                self._made = others | {key: _drawn(served, kind, kept)}
            return self._made[key]


def _drawn(served: Served, kind: Kind, kept: Layout | None) -> Points:
    """By the layout that is kept; None: by a sketch."""
    items = served.recommender.items
    space = served.recommender.spaces.get(kind)
    places = with_new(kept.places, len(items), space) if kept else _sketched(served, kind)
    on_offer = np.array(served.recommender.knowledge.available)
    on_offer[served.withdrawn] = False
    return Points(places, coloured(items), on_offer, kept and kept.seconds)


def _has(served: Served, kind: Kind) -> bool:
    if kind == "taste":
        return "factors" in served.recommender.sources
    space = served.recommender.spaces.get(kind)
    return space is not None and bool(space.present.any())


def _sketched(served: Served, kind: Kind) -> Floats:
    known = served.recommender
    factors = known.knowledge.factors.items if "factors" in known.sources else None
    rows = rows_of(kind, known.spaces, factors)
    assert rows is not None, kind
    return rows.spread(sketch(rows.rows))


def _scaled(places: Floats, there: Mask) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """(n,) each of (m, 2) places of those that are there, in whole numbers from 0 to `FULL`, both on one scale."""
    low, high = places.min(axis=0), places.max(axis=0)
    longest = float((high - low).max()) or 1.0
    moved = (places - (low + high) / 2) / longest + 0.5
    found = np.zeros((2, len(there)), dtype=np.uint16)
    found[:, there] = np.rint(moved * FULL).clip(0, FULL).astype(np.uint16).T
    return found[0], found[1]
