"""A slate in pages: what the cursor says, and the page that follows.

A chain of pages is one slate, cut. A cursor holds the ordinals that the earlier pages show, so nothing is kept
between requests and any process with the snapshot can answer. It is made of bytes, in base64 for addresses:

    1   bytes of a step
    4   digest of the snapshot's id
    4   digest of the question
    ..  ordinals, ascending, as steps from one to the next (the first one from -1)
    6   digest of all the rest

The last digest finds damage. It is no secret: who makes a cursor by hand can hide items from himself.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from hashlib import blake2b
from typing import cast

import numpy as np
from fastapi import HTTPException
from pyarrow import ArrowInvalid

from recsys.catalogue.item_table import ItemTable
from recsys.errors import QueryError
from recsys.identity import ItemId, Ordinals
from recsys.ranking.candidates import Query, Quota, Slate, Suggestion, Where
from recsys.ranking.recommender import Recommender
from recsys.serving.live import Served
from recsys.serving.schemas import DEEPEST, Paged
from recsys.snapshot import Snapshots

TAG = 4
"""Bytes of a digest that tells snapshots or questions apart."""

SEAL = 6
"""Bytes of the digest of a cursor."""

HEAD = 1 + 2 * TAG

LARGEST_STEP = 4
"""Bytes: ordinals have 31 bits."""

FREE = {"cursor", "limit", "explain", "events"}
"""What may differ from page to page: it changes how much is told, or what is known of the viewer by now."""

AGAIN = "ask for the first page again, without a cursor"


def asked_of(route: str, subject: str, ask: Paged) -> bytes:
    """A digest of the question: what must be the same for all pages of a chain."""
    said = ask.model_dump_json(exclude=FREE, exclude_defaults=True)
    return _digest(f"{route}\0{subject}\0{said}".encode(), TAG)


def written(shown: Ordinals, asked: bytes, snapshot: str) -> str:
    """The cursor for the page after these items, of which there is at least one."""
    ascending = np.sort(shown).astype("<u4")
    steps = ascending.copy()
    steps[0] += 1
    steps[1:] -= ascending[:-1]
    width = (int(steps.max()).bit_length() + 7) // 8
    packed = steps.view(np.uint8).reshape(-1, LARGEST_STEP)[:, :width].tobytes()
    content = bytes([width]) + _digest(snapshot.encode(), TAG) + asked + packed
    return _text(content + _digest(content, SEAL))


def read(cursor: str, asked: bytes, served: Served, kept: Snapshots) -> Ordinals:
    """The items that the earlier pages show, as ordinals of what is served.

    Those of an older snapshot are looked up in it by id, as long as it is kept. Raises QueryError for a cursor that
    is damaged or belongs to another question, HTTPException where its snapshot is gone.
    """
    shown, of, question = opened(cursor)
    if question != asked:
        raise QueryError(
            "cursor: it belongs to another question: send it to the address that gave it, with the same "
            f"parameters (but for limit, explain and events), or {AGAIN}"
        )
    now = served.manifest.id
    if of == _digest(now.encode(), TAG):
        return shown[shown < len(served.recommender.items)]
    ids = _ids_in(kept, of, shown)
    if ids is None:
        raise HTTPException(
            410, f"cursor: the snapshot it belongs to is gone, and {now} is served now: {AGAIN}"
        )
    ordinals = served.recommender.items.ids.ordinals(ids)
    return ordinals[ordinals >= 0]


def opened(cursor: str) -> tuple[Ordinals, bytes, bytes]:
    """Ordinals, and the digests of the snapshot and of the question. Raises QueryError."""
    try:
        content = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        raise _damaged() from None
    body, seal = content[:-SEAL], content[-SEAL:]
    if _text(content) != cursor or len(body) < HEAD or _digest(body, SEAL) != seal:
        raise _damaged()
    width, packed = body[0], body[HEAD:]
    if not 1 <= width <= LARGEST_STEP or len(packed) % width or len(packed) // width >= DEEPEST:
        raise _damaged()
    steps = np.zeros((len(packed) // width, LARGEST_STEP), dtype=np.uint8)
    steps[:, :width] = np.frombuffer(packed, np.uint8).reshape(-1, width)
    ordinals = np.cumsum(steps.view("<u4")[:, 0], dtype=np.int64) - 1
    if not steps.any(axis=1).all():
        raise _damaged()
    return ordinals, body[1 : 1 + TAG], body[1 + TAG : HEAD]


def follow(question: Query, shown: Ordinals, recommender: Recommender) -> Slate:
    """The page after what is shown: the slate that is longer by it, without it.

    So nothing comes twice, whatever has become of the viewer, and where nothing has, the pages are the one slate.
    A quota counts what is shown; kinds that have their full number are left out by condition.
    """
    if not len(shown):
        return recommender.recommend(question)
    room, before = _Room(question.quota, recommender.items), set(shown.tolist())
    room.fill(shown)
    page: list[Suggestion] = []
    while True:
        where = room.without_full(question.where)
        longer = replace(question, limit=len(shown) + question.limit, where=where)
        slate = recommender.recommend(longer)
        found = recommender.items.ids.ordinals([place.item for place in slate.items])
        new = [n for n, item in enumerate(found.tolist()) if item not in before]
        fitting = room.fill(found[new])
        taken = [n for n, fits in zip(new, fitting, strict=True) if fits]
        page += [slate.items[n] for n in taken]
        before.update(found[taken].tolist())
        if len(page) >= question.limit or all(fitting):
            return replace(slate, items=tuple(page[: question.limit]))


class _Room:
    """What a quota has left."""

    def __init__(self, quota: Quota, items: ItemTable) -> None:
        self._items, self._taken = items, Counter[tuple[str, str]]()
        given = {"brand": quota.brand, "categories": quota.category}
        self._most = {column: most for column, most in given.items() if most is not None}

    def fill(self, items: Ordinals) -> list[bool]:
        """Take items one by one; False for those that are one too many of their kind."""
        if not self._most:
            return [True] * len(items)
        rows = self._items.data.select(list(self._most)).take(items).to_pylist()
        return [self._take(_kinds(row)) for row in rows]

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


def _ids_in(kept: Snapshots, of: bytes, shown: Ordinals) -> list[ItemId] | None:
    """The ids of these items of the kept snapshot with this digest; None if it is not there any more."""
    for snapshot in kept.ids():
        if _digest(snapshot.encode(), TAG) == of:
            try:
                ids = ItemTable.read(kept.folder / snapshot / "items.arrow").data["id"]
            except (OSError, ArrowInvalid, ValueError):
                return None
            return cast(list[ItemId], ids.take(shown[shown < len(ids)]).to_pylist())
    return None


def _damaged() -> QueryError:
    return QueryError(f"cursor: it is damaged: send `next` of the last page as it came, or {AGAIN}")


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _digest(content: bytes, size: int) -> bytes:
    return blake2b(content, digest_size=size).digest()
