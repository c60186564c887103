"""Contents on their way into the store: read, known by their hash, encoded if new.

    texts     --hash--> new ones, many at a time --encoder--> store
    locations --read, hash--> new ones --a core each: read, decode, encode, average--> store

A picture is few kilobytes and much work: a core takes some of them the whole way, and none waits for another.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import numpy as np
from PIL import Image

from recsys.embedding.batched import one_core_each
from recsys.embedding.decoding import decode, without_remarks
from recsys.embedding.encoder import Encoder, unit_rows
from recsys.embedding.pictures import Pictures
from recsys.embedding.store import Key, VectorStore, content_key
from recsys.errors import ContentError
from recsys.identity import Floats
from recsys.threads import thread_count

TEXTS_AT_ONCE, PICTURES_AT_ONCE = 1_000, 256
"""Contents encoded, and then written to the store, together: what an interruption can cost."""

PICTURES_OF_A_CORE = 16
"""Decoded, and then encoded, together."""

T = TypeVar("T")


@dataclass(frozen=True)
class Taken:
    """What became of contents: texts, or locations of pictures."""

    keys: dict[str, Key] = field(default_factory=dict)
    """Content -> what it is known by in the store, if it could be used."""
    problems: dict[str, str] = field(default_factory=dict)
    """Content -> why it could not be used."""
    new: set[Key] = field(default_factory=set)
    """Those that went through the encoder."""


def take_texts(
    texts: Iterable[str],
    encoder: Encoder[str],
    store: VectorStore,
    progress: Callable[[int], None],
) -> Taken:
    """Put the vectors of texts into the store. progress: told how many are done."""
    taken = Taken()
    waiting: dict[Key, str] = {}

    def flush() -> None:
        if waiting:
            _put(store, taken, list(waiting), encoder.encode(list(waiting.values())))
            waiting.clear()

    for n, text in enumerate(texts):
        progress(n)
        try:
            key = content_key(_text_bytes(text))
        except ContentError as error:
            taken.problems[text] = str(error)
            continue
        taken.keys[text] = key
        if key not in store:
            waiting[key] = text
        if len(waiting) >= TEXTS_AT_ONCE:
            flush()
    flush()
    return taken


def take_pictures(
    locations: Collection[str],
    encoder: Encoder[Image.Image],
    store: VectorStore,
    pictures: Pictures,
    progress: Callable[[int], None],
) -> Taken:
    """The same of pictures and videos. The vector of a video is the mean of its frames'."""
    taken, done = Taken(), 0
    new: dict[Key, str] = {}
    with ThreadPoolExecutor(thread_count()) as readers:
        keys = readers.map(lambda location: _key_of(location, pictures), locations)
        for location, key in zip(locations, keys, strict=True):
            if isinstance(key, _Problem):
                taken.problems[location] = _told(location, key)
            else:
                taken.keys[location] = key
                if key not in store:
                    new.setdefault(key, location)
                    continue
            done += 1
            progress(done)
    waiting: dict[Key, Floats] = {}
    unusable: dict[Key, _Problem] = {}

    def flush() -> None:
        if waiting:
            _put(store, taken, list(waiting), np.stack(list(waiting.values())))
            waiting.clear()

    for some, rows in _on_all_cores(lambda some: _encoded(some, encoder, pictures), new):
        for key, row in zip(some, rows, strict=True):
            if isinstance(row, _Problem):
                unusable[key] = row
            else:
                waiting[key] = row
        if len(waiting) >= PICTURES_AT_ONCE:
            flush()
        done += len(some)
        progress(done)
    flush()
    for location, key in taken.keys.items():
        if key in unusable:
            taken.problems[location] = _told(location, unusable[key])
    return taken


class _Problem(str):
    """Why a picture cannot be used."""


def _told(location: str, problem: str) -> str:
    return problem if location in problem else f"{location}: {problem}"


def _key_of(location: str, pictures: Pictures) -> Key | _Problem:
    try:
        return content_key(pictures.read(location))
    except ContentError as error:
        return _Problem(error)


def _encoded(
    some: Sequence[tuple[Key, str]], encoder: Encoder[Image.Image], pictures: Pictures
) -> list[Floats | _Problem]:
    """(dim,) the vector of each content, or why there is none."""
    shown = [_decoded(key, location, pictures) for key, location in some]
    frames = [frame for one in shown if not isinstance(one, _Problem) for frame in one]
    rows = encoder.encode(frames) if frames else np.empty((0, encoder.card.dim), np.float32)
    found: list[Floats | _Problem] = []
    for one in shown:
        if isinstance(one, _Problem):
            found.append(one)
            continue
        mine, rows = rows[: len(one)], rows[len(one) :]
        found.append(unit_rows(mine.mean(axis=0)))
    return found


def _decoded(key: Key, location: str, pictures: Pictures) -> list[Image.Image] | _Problem:
    try:
        data = pictures.read(location)
        if content_key(data) != key:
            raise ContentError("it changed while it was read: the next rebuild reads it again")
        return decode(data)
    except ContentError as error:
        return _Problem(error)


def _on_all_cores(
    work: Callable[[Sequence[tuple[Key, str]]], T], new: Mapping[Key, str]
) -> Iterator[tuple[list[Key], T]]:
    """Some of the new ones, in order, and what comes of them; a few are in work or wait to be taken.

    torch is not imported where nothing is new.
    """
    rest = iter(new.items())
    parts = iter(lambda: list(islice(rest, PICTURES_OF_A_CORE)), [])
    running: deque[tuple[list[Key], Future[T]]] = deque()
    if not new:
        return
    with without_remarks(), one_core_each() as cores, ThreadPoolExecutor(cores) as pool:
        try:
            for part in parts:
                running.append(([key for key, _ in part], pool.submit(work, part)))
                if len(running) > 2 * cores:
                    some, done = running.popleft()
                    yield some, done.result()
            while running:
                some, done = running.popleft()
                yield some, done.result()
        finally:
            for _, unwanted in running:
                unwanted.cancel()


def _put(store: VectorStore, taken: Taken, keys: Sequence[Key], rows: Floats) -> None:
    """Keep the rows that are any good."""
    good = np.logical_and(np.isfinite(rows).all(axis=1), rows.any(axis=1))
    fine = [key for key, is_good in zip(keys, good.tolist(), strict=True) if is_good]
    if fine:
        store.add(fine, rows[good])
    taken.new.update(fine)


def _text_bytes(text: str) -> bytes:
    if not text.strip():
        raise ContentError("the text is empty")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ContentError("the text is not valid Unicode") from None
