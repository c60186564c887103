"""Items get their vectors; only new or changed content is embedded.

contents --hash--> VectorStore (hash -> vector) --> VectorTable (item -> vector) --> Whitening
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_array

from recsys.config import EmbeddingSettings
from recsys.embedding.encoder import Encoder, EncoderCard, unit_rows
from recsys.embedding.image import decode_image, read_image
from recsys.embedding.store import Key, VectorStore, content_key
from recsys.errors import EncoderError
from recsys.identity import Floats, IdMap, ItemId, Mask
from recsys.locks import only_one

TEXTS_AT_ONCE, PICTURES_AT_ONCE = 1_000, 256
"""Contents encoded, and then written to the store, together: what an interruption can cost."""


@dataclass(frozen=True)
class VectorTable:
    """Items and their vectors; an item without a usable content is not in it."""

    ids: IdMap[ItemId]
    rows: Floats
    """(len(ids), card.dim) float32, unit length."""
    card: EncoderCard

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
    settings: EmbeddingSettings,
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
    with only_one(place):
        store = VectorStore(place, card.dim, known)
        intake = _Intake(encoder, store, settings.image_root)
        keys: list[list[Key]] = []
        for item, content in zip(ids, contents, strict=True):
            keys.append(intake.take(item, content))
            if progress and len(keys) % 256 == 0:
                progress(len(keys))
        intake.flush()
        distinct = list({key: None for mine in keys for key in mine if key in store})
        vectors = store.rows(distinct)
    if progress:
        progress(len(ids))
    for item, mine in zip(ids, keys, strict=True):
        if any(key not in store for key in mine):
            report(intake.problems, item, "the encoder gave no usable vector")
    return Embedded(
        _table(ids, keys, distinct, vectors, card),
        embedded=intake.embedded,
        reused=len(distinct) - intake.embedded,
        problems=intake.problems,
        damaged=tuple(store.damaged),
    )


class _Intake:
    """Contents on their way into the store: read, known by their hash, encoded if new."""

    def __init__(self, encoder: Encoder[Any], store: VectorStore, root: Path) -> None:
        self._encoder, self._store, self._root = encoder, store, root
        self._pictures = encoder.card.modality == "image"
        self._at_once = PICTURES_AT_ONCE if self._pictures else TEXTS_AT_ONCE
        self._waiting: dict[Key, str | Image.Image] = {}
        self.embedded = 0
        self.problems: dict[ItemId, str] = {}

    def take(self, item: ItemId, content: str | Sequence[str] | None) -> list[Key]:
        """The keys of an item's contents; what cannot be used is noted and left out."""
        pieces = (content,) if isinstance(content, str) else content or ()
        keys = []
        for piece in pieces:
            try:
                keys.append(self._recognise(piece))
            except EncoderError as error:
                report(self.problems, item, str(error))
        if len(self._waiting) >= self._at_once:
            self.flush()
        return keys

    def flush(self) -> None:
        """Encode what waits and put it on disk."""
        if not self._waiting:
            return
        rows = self._encoder.encode(list(self._waiting.values()))
        good: Mask = np.logical_and(np.isfinite(rows).all(axis=1), rows.any(axis=1))
        keys = [key for key, fine in zip(self._waiting, good, strict=True) if fine]
        if keys:
            self._store.add(keys, rows[good])
        self.embedded += len(keys)
        self._waiting.clear()

    def _recognise(self, piece: str) -> Key:
        data = read_image(piece, self._root) if self._pictures else _text_bytes(piece)
        key = content_key(data)
        if key not in self._store and key not in self._waiting:
            self._waiting[key] = self._decode(piece, data)
        return key

    def _decode(self, piece: str, data: bytes) -> str | Image.Image:
        if not self._pictures:
            return piece
        try:
            return decode_image(data)
        except EncoderError as error:
            raise EncoderError(f"{piece}: {error}") from None


def report(problems: dict[ItemId, str], item: ItemId, problem: str) -> None:
    """Note a problem behind those the item already has."""
    problems[item] = f"{problems[item]}; {problem}" if item in problems else problem


def _text_bytes(text: str) -> bytes:
    if not text.strip():
        raise EncoderError("the text is empty")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EncoderError("the text is not valid Unicode") from None


def _table(
    ids: IdMap[ItemId],
    keys: Sequence[Sequence[Key]],
    distinct: Sequence[Key],
    vectors: Floats,
    card: EncoderCard,
) -> VectorTable:
    """One row per item with at least one vector: their mean, brought back to unit length."""
    column = {key: n for n, key in enumerate(distinct)}
    columns = [[column[key] for key in mine if key in column] for mine in keys]
    starts = np.cumsum([0, *map(len, columns)])
    flat = np.array([n for found in columns for n in found], dtype=np.int64)
    parts = csr_array((np.ones(len(flat), np.float32), flat, starts), (len(ids), len(distinct)))
    rows = unit_rows(parts @ vectors)
    present = np.flatnonzero(rows.any(axis=1))
    return VectorTable(IdMap(ids.external(present)), rows[present], card)


@dataclass(frozen=True)
class Whitening:
    """Centres vectors and evens out their directions, so that what all items share no longer counts."""

    mean: Floats
    """(dim,)"""
    matrix: Floats
    """(dim, dim), symmetric."""

    @classmethod
    def fit(cls, rows: Floats, eps: float = 0.1) -> "Whitening":
        """Partial ZCA: `V diag(1/sqrt(s + ridge * mean(s))) V'` of the covariance `V diag(s) V'`.

        The ridge is `eps + 5 * dim / n`: a covariance of few rows is mostly chance, and fully evened out
        it would push all items equally far apart. Fewer than two rows change nothing. The scale is
        left out, since `apply` gives unit rows.
        """
        count, dim = rows.shape
        if count < 2:
            return cls(np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32))
        mean = rows.mean(axis=0, dtype=np.float64)
        spread, directions = np.linalg.eigh(_covariance(rows, mean))
        spread = np.maximum(spread, 0)
        ridge = (eps + 5 * dim / count) * spread.mean()
        shrink = np.sqrt(ridge / np.maximum(spread + ridge, np.finfo(np.float64).tiny))
        matrix = directions * shrink @ directions.T
        return cls(mean.astype(np.float32), matrix.astype(np.float32))

    def apply(self, rows: Floats) -> Floats:
        """(n, dim) unit rows; a row equal to the mean becomes zero."""
        return unit_rows((np.asarray(rows, dtype=np.float32) - self.mean) @ self.matrix)


def _covariance(rows: Floats, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """(dim, dim) float64, summed block by block."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), 8_192):
        centred = rows[start : start + 8_192] - mean
        total += centred.T @ centred
    return total / len(rows)
