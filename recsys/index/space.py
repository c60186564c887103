"""One kind of content as a space that all items live in: who is near whom, and what is near a query.

    VectorTable (some items, raw) -> Space (all items, whitened) -> files of a snapshot

Everything is aligned with the catalogue's ordinals; an item without a vector is marked, not missing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.config import IndexSettings
from recsys.embedding.encoder import EncoderCard
from recsys.embedding.vectors import VectorTable, Whitening
from recsys.errors import SnapshotCorrupt
from recsys.identity import ABSENT, Floats, IdMap, ItemId, Mask, Ordinals
from recsys.index.exact import Neighbours, VectorIndex
from recsys.index.faiss import (
    FaissIndex,
    Kind,
    build_index,
    choose_kind,
    load_index,
    measure_recall,
)

BLOCK = 1_024
"""Items whose neighbours are looked for at once."""

Progress = Callable[[int], None]
"""Called with the number of items done so far."""

ARRAYS = ("rows", "present", "neighbours", "similarity", "mean", "matrix")
"""Saved as `<prefix>.<name>.npy`."""


@dataclass(frozen=True)
class Space:
    """Whitened vectors of all items, their nearest neighbours, and an index to ask for more."""

    rows: Floats
    """(n, dim) float32 whitened unit rows; zero where an item has no vector."""
    present: Mask
    """(n,) True where an item has a vector."""
    neighbours: NDArray[np.int32]
    """(n, k) ordinals, nearest first, never the item itself; `ABSENT` where there are no more."""
    similarity: Floats
    """(n, k) cosine of each neighbour; -inf where there is none."""
    card: EncoderCard
    whitening: Whitening
    kind: Kind
    """Which index was chosen."""
    recall: float
    """Recall@10 of that index against exact search, measured when it was built."""
    index: VectorIndex
    """Over the present rows only; `search` speaks in item ordinals."""

    def search(self, vectors: Floats, k: int, allowed: Ordinals | None = None) -> Neighbours:
        """The items nearest to these (q, dim) whitened vectors, among the `allowed` items if given."""
        among = None if allowed is None else self._places[allowed[self.present[allowed]]]
        found = self.index.search(vectors, k, among)
        filled = found.ordinals != ABSENT
        found.ordinals[filled] = self._items[found.ordinals[filled]]
        return found

    def cosine(self, items: Ordinals, seeds: Ordinals) -> Floats:
        """(len(items), len(seeds)) cosine; NaN where either has no vector."""
        cosine: Floats = self.rows[items] @ self.rows[seeds].T
        cosine[~self.present[items]] = np.nan
        cosine[:, ~self.present[seeds]] = np.nan
        return cosine

    def encode_query(self, vectors: Floats) -> Floats:
        """(q, dim) vectors straight from the encoder, brought into this space."""
        return self.whitening.apply(vectors)

    def write(self, folder: Path, prefix: str) -> None:
        """Save as `<prefix>.*` files in `folder`."""
        arrays = (self.rows, self.present, self.neighbours, self.similarity)
        whitening = (self.whitening.mean, self.whitening.matrix)
        for name, array in zip(ARRAYS, (*arrays, *whitening), strict=True):
            np.save(folder / f"{prefix}.{name}.npy", array, allow_pickle=False)
        if isinstance(self.index, FaissIndex):
            self.index.write(folder / f"{prefix}.faiss")
        about = {"card": self.card.to_json(), "kind": self.kind, "recall": self.recall}
        text = json.dumps(about, indent=2, ensure_ascii=False)
        (folder / f"{prefix}.space.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, prefix: str) -> "Space":
        """Read what `write` saved; arrays stay on disk until used. Raises SnapshotCorrupt naming the file."""
        rows, present, neighbours, similarity, mean, matrix = (
            _load_array(folder / f"{prefix}.{name}.npy") for name in ARRAYS
        )
        about = _load_about(folder / f"{prefix}.space.json")
        if rows.shape != (len(present), about["card"].dim):
            raise SnapshotCorrupt(
                f"{folder}: the arrays of {prefix} do not fit one another: rebuild"
            )
        index = load_index(about["kind"], folder / f"{prefix}.faiss", _only(rows, present))
        return cls(
            rows,
            present,
            neighbours,
            similarity,
            whitening=Whitening(mean, matrix),
            index=index,
            **about,
        )

    @cached_property
    def _items(self) -> Ordinals:
        """Place in the index -> item."""
        return np.flatnonzero(self.present)

    @cached_property
    def _places(self) -> Ordinals:
        """Item -> place in the index; meaningless for absent items."""
        return np.cumsum(self.present, dtype=np.int64) - 1


def build_space(
    ids: IdMap[ItemId],
    table: VectorTable,
    settings: IndexSettings,
    progress: Progress | None = None,
) -> Space:
    """Whiten, index, and find every item's neighbours."""
    rows, present = table.aligned(ids)
    whitening = Whitening.fit(table.rows)
    rows[present] = whitening.apply(rows[present])
    indexed = _only(rows, present)
    index = build_index(indexed, settings)
    kind = choose_kind(len(indexed), settings)
    recall = 1.0 if kind == "exact" else measure_recall(index, indexed)
    neighbours, similarity = _all_neighbours(index, rows, present, settings.neighbours, progress)
    return Space(rows, present, neighbours, similarity, table.card, whitening, kind, recall, index)


def _all_neighbours(
    index: VectorIndex, rows: Floats, present: Mask, k: int, progress: Progress | None
) -> tuple[NDArray[np.int32], Floats]:
    """(n, k) ordinals and cosines of every item's nearest others."""
    neighbours = np.full((len(rows), k), ABSENT, dtype=np.int32)
    similarity = np.full((len(rows), k), -np.inf, dtype=np.float32)
    items = np.flatnonzero(present)
    for start in range(0, len(items), BLOCK):
        block = items[start : start + BLOCK]
        found = index.search(rows[block], k + 1)
        others = _without(np.arange(start, start + len(block)), found.ordinals)
        near = np.take_along_axis(found.ordinals, others, axis=1)
        neighbours[block] = np.where(near == ABSENT, ABSENT, items[near])
        similarity[block] = np.take_along_axis(found.scores, others, axis=1)
        if progress:
            progress(start + len(block))
    return neighbours, similarity


def _without(own: Ordinals, ordinals: Ordinals) -> NDArray[np.intp]:
    """Columns left when each row drops its own ordinal, or its last where duplicates crowded that out."""
    return np.argsort(ordinals == own[:, None], axis=1, kind="stable")[:, :-1]


def _only(rows: Floats, present: Mask) -> Floats:
    """The present rows; no copy where that is all of them."""
    return rows if present.all() else rows[present]


def _load_array(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise SnapshotCorrupt(f"{path} is not a readable array: {error}") from None


def _load_about(path: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        about["card"] = EncoderCard.from_json(about["card"])
        return {name: about[name] for name in ("card", "kind", "recall")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SnapshotCorrupt(f"{path} does not describe a space: {error!r}") from None
