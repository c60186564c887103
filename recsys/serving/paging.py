"""A slate in pages: what the cursor says, and the page that follows.

A chain of pages is one slate, cut. A cursor holds the ordinals that the earlier pages show, so nothing is kept
between requests and any process with the snapshot can answer. It is made of bytes, in base64 for addresses:

    1   how steps are written: B, H or I, in 1, 2 or 4 bytes
    4   checksum of the snapshot's id
    4   checksum of the question
    ..  ordinals, ascending, as steps from one to the next (the first one from -1)
    4   checksum of all the rest

The last one finds damage. It is no secret: who makes a cursor by hand can hide items from himself.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, compress, groupby
from operator import sub
from struct import Struct, calcsize, iter_unpack, pack, unpack_from
from typing import cast
from zlib import crc32

import numpy as np
import orjson
import pyarrow as pa
from fastapi import HTTPException

from recsys.catalogue.item_table import ItemTable
from recsys.errors import QueryError
from recsys.identity import ItemId
from recsys.ranking.block import Block, Lists
from recsys.ranking.candidates import Query, Quota, Where
from recsys.ranking.pinning import NOT_DUE, arranged, pins_alone
from recsys.ranking.recommender import Recommender
from recsys.ranking.slates import Account, Slates
from recsys.serving.live import Served
from recsys.serving.schemas import DEEPEST, Paged
from recsys.serving.writing import in_json
from recsys.snapshot import Snapshots

HEAD, SEAL = "<cII", Struct("<I")

FREE = {"cursor", "limit", "explain", "events"}
"""What may differ from page to page: it changes how much is told, or what is known of the viewer by now."""

AGAIN = "ask for the first page again, without a cursor"


def asked_of(route: str, subject: str, ask: Paged) -> int:
    """A checksum of the question: what must be the same for all pages of a chain."""
    said = {name: value for name, value in vars(ask).items() if name not in FREE}
    return crc32(orjson.dumps([route, subject, said], default=vars))


def written(shown: Iterable[int], asked: int, snapshot: str) -> str:
    """The cursor for the page after these items, of which there is at least one."""
    ascending = sorted(shown)
    steps = list(map(sub, ascending, [-1, *ascending]))
    widest = max(steps)
    width = "B" if widest < 2**8 else "H" if widest < 2**16 else "I"
    layout = f"{HEAD}{len(steps)}{width}"
    content = pack(layout, width.encode(), crc32(snapshot.encode()), asked, *steps)
    return _text(content + SEAL.pack(crc32(content)))


def read(cursor: str, asked: int, served: Served, kept: Snapshots) -> list[int]:
    """The items that the earlier pages show, as ordinals of what is served.

    Those of another snapshot are looked up in it by id, as long as it is kept. Raises QueryError for a cursor that
    is damaged or belongs to another question, HTTPException where its snapshot is gone.
    """
    shown, of, question = opened(cursor)
    if question != asked:
        raise QueryError(
            "cursor: it belongs to another question: send it to the address that gave it, with the same "
            f"parameters (but for limit, explain and events), or {AGAIN}"
        )
    now, items = served.manifest.id, served.recommender.items
    if of == crc32(served.manifest.origin.encode()):  # refreshes of a snapshot keep its ordinals
        return [item for item in shown if item < len(items)]
    ids = _ids_in(kept, of, shown)
    if ids is None:
        raise HTTPException(
            410, f"cursor: the snapshot it belongs to is gone, and {now} is served now: {AGAIN}"
        )
    ordinals: list[int] = served.recommender.lookup.ordinals(ids).tolist()
    return [item for item in ordinals if item >= 0]


def opened(cursor: str) -> tuple[list[int], int, int]:
    """Ordinals, and the checksums of the snapshot and of the question. Raises QueryError."""
    try:
        content = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        raise _damaged() from None
    body, seal = content[: -SEAL.size], content[-SEAL.size :]
    start = calcsize(HEAD)
    if _text(content) != cursor or len(body) < start or SEAL.pack(crc32(body)) != seal:
        raise _damaged()
    code, of, question = unpack_from(HEAD, body)
    width, packed = code.decode("latin-1"), body[start:]
    if width not in "BHI" or len(packed) % calcsize(f"<{width}"):
        raise _damaged()
    steps = [step for (step,) in iter_unpack(f"<{width}", packed)]
    if len(steps) >= DEEPEST or 0 in steps:
        raise _damaged()
    return list(accumulate(steps, initial=-1))[1:], of, question


Piece = tuple[Slates, int, Sequence[int]]
"""Slates, which of them, and the places of it that are shown, counted from its first."""


@dataclass(frozen=True, eq=False)
class Page:
    """What is shown of one slate, or of several, one behind the other."""

    pieces: list[Piece]
    text: bytes
    """All places as JSON objects, with a comma between two."""
    account: tuple[Account, int]
    """How the last slate came about: which it is, of which block."""

    @property
    def items(self) -> list[int]:
        """What is shown."""
        each = [
            (slates.items.items[slates.span(n)].tolist(), some) for slates, n, some in self.pieces
        ]
        return [items[place] for items, some in each for place in some]

    @property
    def parts(self) -> list[dict[str, float]]:
        """Of each score, by name."""
        each = [(slates.told(n), some) for slates, n, some in self.pieces]
        return [parts[place] for parts, some in each for place in some]


def whole(slates: Slates) -> list[Page]:
    """A page for each slate: all of it."""
    return [
        Page([(slates, n, range(slates.items.count(n)))], text, (slates.account, n))
        for n, text in enumerate(in_json(slates))
    ]


def follow(question: Query, shown: Sequence[int], recommender: Recommender) -> Page:
    """The page after what is shown: the slate that is longer by it, without it.

    So nothing comes twice, nor a near-duplicate of it, whatever has become of the viewer, and where nothing has, the
    pages are the one slate.
    A quota counts what is shown, and what is pinned; kinds that have their full number are left out by condition.
    """
    if not shown and not (question.pins and question.quota):
        return whole(recommender.answer(Block((question,))))[0]
    room, before = _Room(question.quota, recommender.items), set[int]()

    def show(some: Sequence[int]) -> None:
        alike = np.array(some, dtype=np.int64)
        if question.rerank is None:
            alike = recommender.duplicates.with_others(alike)
        before.update(alike.tolist())

    show(shown)
    room.fill(shown)
    earlier = np.array(shown, dtype=np.int64)
    pinned, held = recommender.due(question, earlier) if question.pins else NOT_DUE
    before.update(held.tolist())
    if question.quota:
        here = {place: item for place, item in pinned.items() if place < question.limit}
        fits = room.fill(list(here.values()))
        pinned = dict(compress(here.items(), fits))
    left = question.limit - sum(place < question.limit for place in pinned)
    pieces = list[Piece]()
    most = len(shown) + len(held) + question.limit
    while True:
        where = room.without_full(question.where)
        longer = replace(question, limit=most, where=where, pins=())
        slates = recommender.answer(Block((longer,)))
        found = slates.items.items.tolist()
        new = [place for place, item in enumerate(found) if item not in before]
        fitting = room.fill([found[place] for place in new])
        taken = [place for place, fits in zip(new, fitting, strict=True) if fits][:left]
        pieces.append((slates, 0, taken))
        show([found[place] for place in taken])
        left -= len(taken)
        if left == 0 or all(fitting):
            account = (slates.account, 0)
            pieces = _with_pins(pieces, pinned, question.limit) if pinned else pieces
            return Page(pieces, _text_of(pieces, len(shown) + 1), account)


def _with_pins(pieces: Sequence[Piece], pinned: Mapping[int, int], limit: int) -> list[Piece]:
    """The pieces, cut where something is pinned."""
    slates = pins_alone(pieces[-1][0], list(pinned.values()))
    pins = {place: (slates, n) for n, place in enumerate(pinned)}
    others = [(slates, place) for slates, _, some in pieces for place in some]
    runs = groupby(arranged(others, pins, limit), lambda each: id(each[0]))
    told = [list(run) for _, run in runs]
    return [(run[0][0], 0, [place for _, place in run]) for run in told]


def _text_of(pieces: Sequence[Piece], rank: int) -> bytes:
    """rank: of the first place."""
    texts = list[bytes]()
    for slates, _, some in pieces:
        if some:
            texts += in_json(slates, Lists.of([np.array(some)]), rank)
        rank += len(some)
    return b",".join(texts)


class _Room:
    """What a quota has left."""

    def __init__(self, quota: Quota, items: ItemTable) -> None:
        self._items, self._taken = items, Counter[tuple[str, str]]()
        given = {"brand": quota.brand, "categories": quota.category}
        self._most = {column: most for column, most in given.items() if most is not None}

    def fill(self, items: Sequence[int]) -> list[bool]:
        """Take items one by one; False for those that are one too many of their kind."""
        if not self._most:
            return [True] * len(items)
        wanted = self._items.data.select(list(self._most)).take(pa.array(items, pa.int64()))
        return [self._take(_kinds(row)) for row in wanted.to_pylist()]

    def _take(self, kinds: set[tuple[str, str]]) -> bool:
        if any(self._taken[kind] >= self._most[kind[0]] for kind in kinds):
            return False
        self._taken.update(kinds)
        return True

    def without_full(self, where: Where) -> Where:
        """The condition that also leaves out the kinds that are full."""
        full = {kind for kind, n in self._taken.items() if n >= self._most[kind[0]]}
        if not full:
            return where
        return replace(
            where,
            without_brands=where.without_brands + _named("brand", full),
            without_categories=where.without_categories + _named("categories", full),
        )


def _kinds(row: dict[str, str | list[str] | None]) -> set[tuple[str, str]]:
    """Column and value of what a quota counts."""
    values = {name: [value] if isinstance(value, str) else value for name, value in row.items()}
    return {(name, value) for name, some in values.items() for value in some or ()}


def _named(column: str, kinds: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(sorted(value for name, value in kinds if name == column))


def _ids_in(kept: Snapshots, of: int, shown: Iterable[int]) -> list[ItemId] | None:
    """The ids of these items of the kept snapshot with this checksum; None if it is not there any more."""
    for snapshot in kept.ids():
        if crc32(snapshot.encode()) == of:
            try:
                ids = ItemTable.read(kept.folder / snapshot / "items.arrow").data["id"]
            except (OSError, pa.ArrowInvalid, ValueError):
                return None
            there = [item for item in shown if item < len(ids)]
            return cast(list[ItemId], ids.take(pa.array(there, pa.int64())).to_pylist())
    return None


def _damaged() -> QueryError:
    return QueryError(f"cursor: it is damaged: send `next` of the last page as it came, or {AGAIN}")


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
