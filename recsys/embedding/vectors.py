"""Items get their vectors; only new or changed content is embedded.

contents --hash--> VectorStore (hash -> vector) --> VectorTable (item -> vector)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from recsys.embedding.adapters import adapter_of
from recsys.embedding.encoder import Encoder, EncoderCard, unit_rows
from recsys.embedding.intake import take_pictures, take_texts
from recsys.embedding.pictures import Pictures
from recsys.embedding.projection import Projection
from recsys.embedding.store import Key, VectorStore
from recsys.identity import Floats, IdMap, ItemId, Mask
from recsys.locks import only_one


@dataclass(frozen=True)
class VectorTable:
    """Items and their vectors; an item without a usable content is not in it."""

    ids: IdMap[ItemId]
    rows: Floats
    """(len(ids), card.dim) float32, unit length."""
    card: EncoderCard
    adapter: Projection | None = None
    """What the encoder was taught about this catalogue; None: nothing, and its vectors are whitened."""

    def __post_init__(self) -> None:
        """Checked here and nowhere else. Raises ValueError."""
        expected = (len(self.ids), self.card.dim)
        if self.rows.shape != expected or self.rows.dtype != np.float32:
            raise ValueError(
                f"expected {expected} float32, got {self.rows.shape} {self.rows.dtype}"
            )
        lengths = np.sqrt(np.vecdot(self.rows, self.rows))
        if not np.all(np.abs(lengths - 1) < 1e-3):  # false for NaN too
            worst = int(np.argmax(~(np.abs(lengths - 1) < 1e-3)))
            raise ValueError(f"row {worst} is not of unit length: {lengths[worst]}")

    def aligned(self, ids: IdMap[ItemId]) -> tuple[Floats, Mask]:
        """Rows in the order of `ids` (zero where an item has none), and which of them have one."""
        rows = np.zeros((len(ids), self.card.dim), dtype=np.float32)
        mine = self.ids.ordinals(list(ids))
        present = mine >= 0
        rows[present] = self.rows[mine[present]]
        return rows, present


@dataclass(frozen=True)
class Embedded:
    """What became of the contents of all items."""

    table: VectorTable
    embedded: int
    """Distinct contents that went through the encoder."""
    reused: int
    """Distinct contents whose vector was in the store."""
    problems: dict[ItemId, str]
    """Items with a content that could not be used, and why."""
    damaged: tuple[str, ...]
    """Files of the store that were unreadable and have been dropped; their contents were embedded again."""


def embed_items(
    ids: IdMap[ItemId],
    contents: Sequence[str | Sequence[str] | None],
    encoder: Encoder[Any],
    folder: Path,
    pictures: Pictures,
    progress: Callable[[int], None] | None = None,
    known: bool = True,
) -> Embedded:
    """The vectors of all items, of which only new or changed contents are embedded.

    `contents[i]` is the text of item i, or the locations of its pictures (several give the mean of
    their vectors); None or () where it has none. `folder` keeps the vectors of all encoders, each in
    a folder of its own; while another job has that one open, this one waits. `progress` is told how
    many items are done. known: False embeds every content, without a look at the vectors there are: sooner for few.
    """
    card = encoder.card
    place = folder / card.store
    given = [_pieces(content) for _, content in zip(ids, contents, strict=True)]
    distinct = dict.fromkeys(piece for pieces in given for piece in pieces)
    told = _told(progress, len(given), len(distinct))
    with only_one(place):
        store = VectorStore(place, card.dim, known)
        if card.modality == "image":
            taken = take_pictures(distinct, encoder, store, pictures, told)
        else:
            taken = take_texts(distinct, encoder, store, told)
        there = taken.keys
        for piece in [piece for piece, key in there.items() if key not in store]:
            where = f"{piece}: " if card.modality == "image" else ""
            taken.problems.setdefault(piece, f"{where}the encoder gave no usable vector")
            del there[piece]
        keys = [[there[piece] for piece in pieces if piece in there] for pieces in given]
        known_keys = list(dict.fromkeys(there.values()))
        vectors = store.rows(known_keys)
    if progress:
        progress(len(given))
    found: dict[ItemId, str] = {}
    for item, pieces in zip(ids, given, strict=True):
        for piece in pieces:
            if piece in taken.problems:
                report(found, item, taken.problems[piece])
    return Embedded(
        _table(ids, keys, known_keys, vectors, card, adapter_of(card, folder)),
        embedded=len(taken.new),
        reused=len(known_keys) - len(taken.new),
        problems=found,
        damaged=tuple(store.damaged),
    )


def _pieces(content: str | Sequence[str] | None) -> Sequence[str]:
    return (content,) if isinstance(content, str) else content or ()


def _told(
    progress: Callable[[int], None] | None, items: int, contents: int
) -> Callable[[int], None]:
    """Told of contents, it tells of items, as if each had as many; now and then."""
    every, next_time = max(1, contents // 200), 0

    def told(done: int) -> None:
        nonlocal next_time
        if progress and done >= next_time:
            progress(items * done // max(1, contents))
            next_time = done + every

    return told


def report(problems: dict[ItemId, str], item: ItemId, problem: str) -> None:
    """Note a problem behind those the item already has."""
    problems[item] = f"{problems[item]}; {problem}" if item in problems else problem


def _table(
    ids: IdMap[ItemId],
    keys: Sequence[Sequence[Key]],
    distinct: Sequence[Key],
    vectors: Floats,
    card: EncoderCard,
    adapter: Projection | None,
) -> VectorTable:
    """One row per item with at least one vector: their mean, brought back to unit length."""
    column = {key: n for n, key in enumerate(distinct)}
    columns = [[column[key] for key in mine if key in column] for mine in keys]
    starts = np.cumsum([0, *map(len, columns)])
    flat = np.array([n for found in columns for n in found], dtype=np.int64)
    parts = csr_array((np.ones(len(flat), np.float32), flat, starts), (len(ids), len(distinct)))
    rows = unit_rows(parts @ vectors)
    present = np.flatnonzero(rows.any(axis=1))
    return VectorTable(IdMap(ids.external(present)), rows[present], card, adapter)
