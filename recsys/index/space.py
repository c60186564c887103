"""One kind of content as a space that all items live in: who is near whom, and what is near a query.

    VectorTable (some items, raw) -> Space (all items, projected) -> files of a snapshot

Everything is aligned with the catalogue's ordinals; an item without a vector is marked, not missing.
"""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.config import IndexSettings
from recsys.embedding.encoder import EncoderCard
from recsys.embedding.projection import Projection
from recsys.embedding.vectors import VectorTable
from recsys.errors import SnapshotCorrupt
from recsys.identity import ABSENT, Floats, IdMap, ItemId, Mask, Ordinals
from recsys.index.exact import ExactIndex, Exam, Neighbours, VectorIndex, blocks
from recsys.index.faiss import (
    FaissIndex,
    Kind,
    build_index,
    choose_kind,
    load_index,
)
from recsys.index.neighbours import (
    Entries,
    Lists,
    Progress,
    enough_lists,
    entries,
    nearest_others,
    with_entries,
)

BLOCK = 65_536
"""Vectors projected or compared at once."""

SPARE = 10
"""Neighbours kept beyond those asked for: they move up when others go, so that few items must look anew."""

MOST_CHANGED = 0.1
"""Share of the items that may change before everything is built anew, the projection and the lists included."""

RIDGE = {"text": 0.1, "image": 30.0}
"""Of the whitening: what all texts share says nothing, but what most pictures share is much of how they look."""

ROUNDING = 1e-5
"""Numbers of a vector that differ by less are the same."""

ARRAYS = ("rows", "codes", "present", "nearest", "nearness", "mean", "matrix")
"""Saved as `<prefix>.<name>.npy`."""

ABOUT = ("card", "kind", "recall", "kept", "changed", "scale")
"""Saved in `<prefix>.space.json`."""


@dataclass(frozen=True)
class Space:
    """Projected vectors of all items, their nearest neighbours, and an index to ask for more."""

    rows: Floats
    """(n, k) float32 unit rows; zero where an item has no vector."""
    codes: NDArray[np.int8]
    """(n, dim) rows * scale: a quarter of the memory to read where many are compared, and hardly less exact."""
    scale: float
    present: Mask
    """(n,) True where an item has a vector."""
    nearest: NDArray[np.int32]
    """(n, kept + `SPARE`) ordinals, nearest first, never the item itself; `ABSENT` where no more are known."""
    nearness: Floats
    """(n, kept + `SPARE`) cosine of each; -inf where there is none."""
    kept: int
    """Neighbours that were asked for."""
    card: EncoderCard
    projection: Projection
    changed: int
    """Items that came, changed or went since the projection was fitted."""
    kind: Kind
    """Which index was chosen."""
    recall: float
    """Recall@10 of that index against exact search, measured when it was built."""
    index: VectorIndex
    """Over the present rows only; `search` speaks in item ordinals."""

    @property
    def fingerprint(self) -> str:
        """Differs whenever the encoder does, or what it was taught."""
        return f"{self.card.fingerprint}{self.projection.taught}"

    @property
    def neighbours(self) -> NDArray[np.int32]:
        """(n, kept) ordinals, nearest first, never the item itself; `ABSENT` where there are no more."""
        return self.nearest[:, : self.kept]

    @property
    def similarity(self) -> Floats:
        """(n, kept) cosine of each neighbour; -inf where there is none."""
        return self.nearness[:, : self.kept]

    def search(self, vectors: Floats, k: int, allowed: Ordinals | None = None) -> Neighbours:
        """The items nearest to these (q, k) projected vectors, among the `allowed` items if given."""
        among = None if allowed is None else self._places[allowed[self.present[allowed]]]
        found = self.index.search(vectors, k, among)
        filled = found.ordinals != ABSENT
        found.ordinals[filled] = self._items[found.ordinals[filled]]
        return found

    def encode_query(self, vectors: Floats) -> Floats:
        """(q, dim) vectors straight from the encoder, brought into this space."""
        return self.projection.apply(vectors)

    def write(self, folder: Path, prefix: str) -> None:
        """Save as `<prefix>.*` files in `folder`."""
        arrays: tuple[NDArray[Any], ...] = (
            self.rows,
            self.codes,
            self.present,
            self.nearest,
            self.nearness,
        )
        projection = (self.projection.mean, self.projection.matrix)
        for name, array in zip(ARRAYS, (*arrays, *projection), strict=True):
            np.save(folder / f"{prefix}.{name}.npy", array, allow_pickle=False)
        if isinstance(self.index, FaissIndex):
            self.index.write(folder / f"{prefix}.faiss")
        about = {name: getattr(self, name) for name in ABOUT} | {"card": self.card.to_json()}
        about["taught"] = self.projection.taught
        text = json.dumps(about, indent=2, ensure_ascii=False)
        (folder / f"{prefix}.space.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, prefix: str) -> "Space":
        """Read what `write` saved; arrays stay on disk until used. Raises SnapshotCorrupt naming the file."""
        rows, codes, present, nearest, nearness, mean, matrix = (
            _load_array(folder / f"{prefix}.{name}.npy") for name in ARRAYS
        )
        about = _load_about(folder / f"{prefix}.space.json")
        dims = (about["card"].dim, rows.shape[-1])
        if len(rows) != len(present) or matrix.shape != dims or mean.shape != dims[:1]:
            raise SnapshotCorrupt(
                f"{folder}: the arrays of {prefix} do not fit one another: rebuild"
            )
        index = load_index(about["kind"], folder / f"{prefix}.faiss", _only(rows, present))
        return cls(
            rows,
            codes,
            present=present,
            nearest=nearest,
            nearness=nearness,
            projection=Projection(mean, matrix, about.pop("taught")),
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
    last: Space | None = None,
    last_ids: IdMap[ItemId] | None = None,
) -> Space:
    """Project, index, and find every item's neighbours: at least 95 % of them, exactly up to `exact_below` items.

    last: the space of the build before, of items named `last_ids`. Where no more than `MOST_CHANGED` of the
    items have come, changed or gone since its projection was fitted, that stays and only what changed is done.
    """
    raw, present = table.aligned(ids)
    if last is not None and last_ids:
        succeeded = _succeed(last, last_ids, ids, raw, present, table, settings)
        if succeeded:
            if progress:
                progress(int(present.sum()))
            return succeeded
        raw, present = table.aligned(ids)
    projection = table.adapter or Projection.whitening(table.rows, RIDGE[table.card.modality])
    rows = _projected(raw, present, projection)
    indexed = _only(rows, present)
    exam = Exam.of(indexed, max(10, settings.neighbours))
    index = build_index(indexed, settings, exam)
    lists = _lists(index, indexed)
    width = settings.neighbours + SPARE
    everyone = np.arange(len(indexed))
    found = nearest_others(indexed, lists, everyone, width, enough_lists(exam, lists), progress)
    nearest, nearness = _nothing_near(len(rows), width)
    items = np.flatnonzero(present)
    nearest[items], nearness[items] = _named(found.ordinals, items), found.scores
    codes, scale = coded(rows)
    return Space(
        rows=rows,
        codes=codes,
        scale=scale,
        present=present,
        nearest=nearest,
        nearness=nearness,
        kept=settings.neighbours,
        card=table.card,
        projection=projection,
        changed=0,
        kind=choose_kind(len(indexed), settings),
        recall=exam.recall(index),
        index=index,
    )


def _succeed(
    last: Space,
    last_ids: IdMap[ItemId],
    ids: IdMap[ItemId],
    raw: Floats,
    present: Mask,
    table: VectorTable,
    settings: IndexSettings,
) -> Space | None:
    """The space of these items, made from the last one; None where all is to be built anew."""
    kind = choose_kind(int(present.sum()), settings)
    if (last.card, last.kind, last.kept) != (table.card, kind, settings.neighbours):
        return None
    if last.projection.taught != (table.adapter.taught if table.adapter else ""):
        return None
    rows = _projected(raw, present, last.projection)
    change = _compare(last, last_ids, ids, rows, present)
    changed = last.changed + change.count
    if changed > MOST_CHANGED * present.sum():
        return None
    exam = Exam.of(_only(rows, present), max(10, settings.neighbours), sample=200)
    index = _index_of(last, change, present, exam.rows, exam)
    nearest, nearness = _mended(last, change, present, exam, _lists(index, exam.rows))
    codes, scale = coded(rows)
    return replace(
        last,
        rows=rows,
        codes=codes,
        scale=scale,
        present=present,
        nearest=nearest,
        nearness=nearness,
        changed=changed,
        recall=exam.recall(index),
        index=index,
    )


def extended(last: Space, count: int, items: Ordinals, vectors: Floats, present: Mask) -> Space:
    """The space of `count` items, of which only these (ascending) have another vector than they had, or are new.

    vectors: (m, dim) raw; present: (m,) False where an item has none. Projection and lists' centres stay, however
    much has changed, and so does what was measured of the index. The same object where every vector is the same.
    """
    before = len(last.present)
    if count == before and not len(items):
        return last
    rows = np.zeros((count, last.rows.shape[1]), dtype=np.float32)
    there = np.zeros(count, dtype=bool)
    rows[:before], there[:before] = last.rows, last.present
    new = np.where(present[:, None], last.projection.apply(vectors), np.float32(0))
    far = np.abs(new - rows[items]).max(axis=1, initial=0) >= ROUNDING
    other = far | (there[items] != present)
    if count == before and not other.any():
        return last
    moved = items[other]
    rows[moved], there[moved] = new[other], present[other]
    codes = np.zeros(rows.shape, dtype=np.int8)
    codes[:before] = last.codes
    codes[moved] = in_codes(rows[moved], last.scale)
    change = _moved(last, moved, there)
    indexed = _only(rows, there)
    nearest, nearness = _patched(last, change, there, indexed)
    return replace(
        last,
        rows=rows,
        codes=codes,
        present=there,
        nearest=nearest,
        nearness=nearness,
        changed=last.changed + change.count,
        index=_index_of(last, change, there, indexed),
    )


@dataclass(frozen=True)
class _Change:
    """How the items of a space are related to those of the last one."""

    was: Ordinals
    """(n,) the last ordinal of each; `ABSENT` for a new item."""
    same: Mask
    """(n,) True where an item has the vector that it had."""
    now: Ordinals
    """(last n,) the ordinal of each that stayed the same; `ABSENT` for others."""
    count: int
    """Items whose vector came, changed or went."""


def _compare(
    last: Space, last_ids: IdMap[ItemId], ids: IdMap[ItemId], rows: Floats, present: Mask
) -> _Change:
    was = last_ids.ordinals(list(ids))
    both: Mask = present & (was != ABSENT) & last.present[was]
    same = both.copy()
    for some in blocks(len(rows), BLOCK):
        here = np.flatnonzero(both[some]) + some.start
        same[here] = np.abs(rows[here] - last.rows[was[here]]).max(axis=1, initial=0) < ROUNDING
    now = np.full(len(last_ids), ABSENT, dtype=np.int64)
    now[was[same]] = np.flatnonzero(same)
    gone = int(last.present.sum() - both.sum())
    return _Change(was, same, now, gone + int((present & ~same).sum()))


def _moved(last: Space, moved: Ordinals, present: Mask) -> _Change:
    """All but these are what and where they were."""
    before = np.arange(len(last.present))
    was = np.append(before, np.full(len(present) - len(before), ABSENT))
    same: Mask = present & (was != ABSENT)
    same[moved] = False
    return _Change(was, same, np.where(same[before], before, ABSENT), len(moved))


def _index_of(
    last: Space, change: _Change, present: Mask, indexed: Floats, exam: Exam | None = None
) -> VectorIndex:
    """The last index, with what went taken out and what is new sorted in. exam: None keeps its effort."""
    if not isinstance(last.index, FaissIndex):
        return ExactIndex(indexed)
    ordinal = change.now[last.present]
    place = np.cumsum(present, dtype=np.int64) - 1
    places = np.where(ordinal == ABSENT, ABSENT, place[ordinal])
    return last.index.succeeded_by(indexed, places, exam)


def _mended(
    last: Space, change: _Change, present: Mask, exam: Exam, lists: Lists
) -> tuple[NDArray[np.int32], Floats]:
    """(n, width) neighbours and cosines: those of the last space without what went, and with what came.

    An item of which fewer than `kept` neighbours are left looks for them anew, as new ones do.
    """
    nearest, nearness = _nothing_near(len(present), last.nearest.shape[1])
    same = np.flatnonzero(change.same)
    nearest[same], nearness[same] = _left(last, change, same)
    _enter(
        nearest, nearness, last.kept, change, present, exam.rows, lists, enough_lists(exam, lists)
    )
    return nearest, nearness


def _patched(
    last: Space, change: _Change, present: Mask, indexed: Floats
) -> tuple[NDArray[np.int32], Floats]:
    """The same where all that stayed is where it was: lists in which nothing changed are not gone through."""
    before = len(last.present)
    nearest, nearness = _nothing_near(len(present), last.nearest.shape[1])
    nearest[:before], nearness[:before] = last.nearest, last.nearness
    nearest[~change.same], nearness[~change.same] = ABSENT, -np.inf
    gone = np.append(change.now == ABSENT, False)  # `ABSENT` finds the last place
    lost = np.flatnonzero(change.same[:before] & gone[last.nearest].any(axis=1))
    nearest[lost], nearness[lost] = _left(last, change, lost)
    _enter(nearest, nearness, last.kept, change, present, indexed, Lists.one(indexed), 1)
    return nearest, nearness


def _enter(
    nearest: NDArray[np.int32],
    nearness: Floats,
    kept: int,
    change: _Change,
    present: Mask,
    indexed: Floats,
    lists: Lists,
    count: int,
) -> None:
    """Put what is new among the neighbours of those to whom it is near, and let those look who know too few.

    count: lists that each looks into.
    """
    width = nearest.shape[1]
    items = np.flatnonzero(present)
    last_known = np.maximum(_known(nearest) - 1, 0)[:, None]
    least = np.where(change.same, np.take_along_axis(nearness, last_known, axis=1)[:, 0], np.inf)
    new = np.flatnonzero(~change.same[items])
    come = entries(indexed, lists, new, least[items].astype(np.float32), count)
    come = Entries(items[come.row], items[come.neighbour], come.score)
    who, ordinals, scores = with_entries(nearest, nearness, come)
    nearest[who], nearness[who] = ordinals, scores
    short = np.flatnonzero(_known(nearest)[items] < min(kept, len(items) - 1))
    found = nearest_others(indexed, lists, short, width, count)
    nearest[items[short]] = _named(found.ordinals, items)
    nearness[items[short]] = found.scores


def coded(rows: Floats) -> tuple[NDArray[np.int8], float]:
    """Rows in a byte for each number: rows * scale, rounded, and the scale."""
    largest = max(
        (float(np.abs(rows[some]).max(initial=0)) for some in blocks(len(rows), BLOCK)), default=0.0
    )
    scale = 127 / (largest or 1.0)
    codes = np.empty(rows.shape, dtype=np.int8)
    for some in blocks(len(rows), BLOCK):
        codes[some] = in_codes(rows[some], scale)
    return codes, scale


def in_codes(rows: Floats, scale: float) -> NDArray[np.int8]:
    """The same on a scale that is given; what is beyond it is cut off."""
    return np.asarray(np.rint(rows * np.float32(scale)).clip(-127, 127), dtype=np.int8)


def _nothing_near(count: int, width: int) -> tuple[NDArray[np.int32], Floats]:
    """(count, width) neighbours and cosines, of which none is known yet."""
    nothing = np.full((count, width), ABSENT, dtype=np.int32)
    return nothing, np.full((count, width), -np.inf, dtype=np.float32)


def _known(nearest: NDArray[np.int32]) -> NDArray[np.int64]:
    """(n,) how many neighbours each has."""
    return np.asarray((nearest != ABSENT).sum(axis=1))


def _left(last: Space, change: _Change, items: Ordinals) -> tuple[NDArray[np.int32], Floats]:
    """(items, width) what is left of the last neighbours of items that are the same, moved up."""
    was = change.was[items]
    nearest = last.nearest[was]
    left = np.where(nearest == ABSENT, ABSENT, change.now[nearest]).astype(np.int32)
    nearness = np.where(left == ABSENT, -np.inf, last.nearness[was]).astype(np.float32)
    order = np.argsort(left == ABSENT, axis=1, kind="stable")
    return np.take_along_axis(left, order, axis=1), np.take_along_axis(nearness, order, axis=1)


def _projected(raw: Floats, present: Mask, projection: Projection) -> Floats:
    """(n, k) of (n, dim) rows, a block at a time; zero stays zero. In the place of the raw ones where they fit."""
    dim, k = projection.matrix.shape
    rows = raw if k == dim else np.zeros((len(raw), k), dtype=np.float32)
    for some in blocks(len(raw), BLOCK):
        rows[some][present[some]] = projection.apply(raw[some][present[some]])
    return rows


def _lists(index: VectorIndex, indexed: Floats) -> Lists:
    return index.lists() if isinstance(index, FaissIndex) else Lists.one(indexed)


def _named(places: Ordinals, items: Ordinals) -> Ordinals:
    """Places among the present rows -> items."""
    if not len(items):
        return places
    return np.where(places == ABSENT, ABSENT, items[places])


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
        return {name: about[name] for name in (*ABOUT, "taught")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SnapshotCorrupt(f"{path} does not describe a space: {error!r}") from None
