"""Outside ids and ordinals: the one border between them.

Outside, an item or a user is a string. Inside, it is an ordinal 0..n-1 that indexes arrays. Ids cross
the border once on the way in and once on the way out; a lookup never changes length or order.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Generic, NewType, TypeVar

import numpy as np
from numpy.typing import NDArray

ItemId = NewType("ItemId", str)
UserId = NewType("UserId", str)

Ordinals = NDArray[np.int64]
"""(n,) positions in an `IdMap`; `ABSENT` where there is none."""

Floats = NDArray[np.float32]
"""float32 values of any shape; NaN where unknown."""

Mask = NDArray[np.bool_]
"""(n,) True where something holds."""

ABSENT = -1
"""The ordinal of what is not in the map."""

NOTHING: Ordinals = np.empty(0, dtype=np.int64)
"""No ordinals."""
NOTHING.setflags(write=False)

K = TypeVar("K", bound=str)


class IdMap(Generic[K]):
    """A bijection between outside ids and ordinals 0..n-1, in the order given."""

    def __init__(self, ids: Iterable[K]) -> None:
        self._ids: tuple[K, ...] = tuple(ids)
        self._ordinals: dict[K, int] = {key: n for n, key in enumerate(self._ids)}
        if len(self._ordinals) != len(self._ids):
            twice = next(key for n, key in enumerate(self._ids) if self._ordinals[key] != n)
            raise ValueError(f"ids must be unique, but {twice!r} is there twice")

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[K]:
        return iter(self._ids)

    def __contains__(self, key: object) -> bool:
        return key in self._ordinals

    def ordinal(self, key: K) -> int:
        """The ordinal of one id; `ABSENT` if unknown."""
        return self._ordinals.get(key, ABSENT)

    def ordinals(self, keys: Sequence[K]) -> Ordinals:
        """(len(keys),) ordinals in the same order; `ABSENT` where unknown."""
        find = self._ordinals.get
        return np.fromiter(map(find, keys, repeat(ABSENT)), dtype=np.int64, count=len(keys))

    def external(self, ordinals: Ordinals) -> list[K]:
        """The ids of these ordinals, in order. Raises IndexError on `ABSENT`: a missed mask is loud."""
        places, ids = ordinals.tolist(), self._ids
        if min(places, default=0) < 0:
            raise IndexError("ABSENT has no outside id: mask it before crossing the border")
        return [ids[n] for n in places]
