"""The places of a reply in JSON, of all slates of a block at once.

Ids and titles go from the catalogue's columns into the text as they lie there, in UTF-8. As objects of the
interpreter they took a tenth of a request.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.item_table import Texts
from recsys.compiling import compiled, prefetch
from recsys.identity import Floats, Ordinals
from recsys.ranking.block import Lists
from recsys.ranking.reasons import PHRASES
from recsys.ranking.slates import Slates

Bytes = NDArray[np.uint8]


def _bytes(text: bytes) -> Bytes:
    return np.frombuffer(text, np.uint8)


ITEM, RANK, SCORE, REASON, TITLE, END = map(
    _bytes,
    (b'{"item_id":"', b'","rank":', b',"score":', b',"reason":"', b'","title":"', b'"},'),
)
"""What stands between the values of a place."""

AROUND = sum(map(len, (ITEM, RANK, SCORE, REASON, TITLE, END))) + 2 * 20 + 2
"""Bytes of a place but for its texts: two numbers take 20 digits each at most, a sign and a point."""

DECIMALS = 6
"""Of a score."""

UNIT = 10**DECIMALS

LARGEST = 10.0**12
"""Of a score that is written: 18 digits fit into a whole number."""

NULL = _bytes(b"null")

BACKSLASH, HEX = ord("\\"), _bytes(b"0123456789abcdef")

LONGEST_ESCAPE = len(r"\u0000")

PLAIN, CODED = 0, ord("u")

ESCAPES = np.zeros(256, np.uint8)
"""For each byte what stands behind a backslash in its place: `PLAIN`: it may stand for itself; `CODED`: its number."""
ESCAPES[:32] = CODED
for _letter, _escape in zip(b'\b\t\n\f\r"\\', b'btnfr"\\', strict=True):
    ESCAPES[_letter] = _escape


class Phrases(NamedTuple):
    """What stands before and behind the title that a reason names."""

    before: Texts
    after: Texts


WORDS = Phrases(*(Texts.of_strings(some) for some in zip(*PHRASES, strict=True)))


def in_json(slates: Slates, shown: Lists | None = None, first: int = 1) -> list[bytes]:
    """Places of slates as JSON objects, with a comma between two: a text for each list.

    shown: lists of places, counted over all slates; None: each slate. first: the rank of the first place of each.
    """
    if shown is None:
        shown = Lists(slates.items.starts, np.arange(len(slates.items.items)))
    places, catalogue = shown.items, slates.catalogue
    text, edges = write(
        catalogue.id_texts,
        catalogue.title_texts,
        WORDS,
        shown.starts,
        slates.items.items[places],
        slates.scores[places],
        slates.phrase[places],
        slates.named[places],
        first,
    )
    whole, at = text.tobytes(), edges.tolist()
    return [whole[start : max(start, end - 1)] for start, end in pairwise(at)]


@compiled
def write(
    ids: Texts,
    titles: Texts,
    phrases: Phrases,
    starts: Ordinals,
    items: Ordinals,
    scores: Floats,
    which: Ordinals,
    named: Ordinals,
    first: int,
) -> tuple[Bytes, Ordinals]:
    """The text of all places, and the (q + 1,) ends of each list's part of it; a comma stands behind each place.

    which: (m,) the phrase of each. named: (m,) the item whose title stands within it; `ABSENT`: none.
    """
    most = 0
    for k in range(len(items)):
        if not (0 <= items[k] < len(ids.edges) - 1 and named[k] < len(ids.edges) - 1):
            raise IndexError("there is no such item")
        _fetch(ids, titles, items[k])
        if named[k] >= 0:
            _fetch(ids, titles, named[k])
    for k in range(len(items)):
        most += AROUND + LONGEST_ESCAPE * (
            _length(ids, items[k])
            + _title_length(ids, titles, items[k])
            + _length(phrases.before, which[k])
            + _length(phrases.after, which[k])
            + (_title_length(ids, titles, named[k]) if named[k] >= 0 else 0)
        )
    text, at = np.empty(most, np.uint8), 0
    edges = np.zeros(len(starts), np.int64)
    for n in range(len(starts) - 1):
        for k in range(starts[n], starts[n + 1]):
            at = _escaped(text, _put(text, at, ITEM), ids, items[k])
            at = _whole(text, _put(text, at, RANK), first + k - starts[n])
            at = _decimal(text, _put(text, at, SCORE), scores[k])
            at = _escaped(text, _put(text, at, REASON), phrases.before, which[k])
            if named[k] >= 0:
                at = _title(text, at, ids, titles, named[k])
            at = _escaped(text, at, phrases.after, which[k])
            at = _title(text, _put(text, at, TITLE), ids, titles, items[k])
            at = _put(text, at, END)
        edges[n + 1] = at
    return text[:at], edges


@compiled
def _fetch(ids: Texts, titles: Texts, item: int) -> None:
    """Ask for what is read next."""
    prefetch(ids.letters, ids.edges[item], 0)
    prefetch(titles.letters, titles.edges[item], 0)


@compiled
def _length(texts: Texts, n: int) -> int:
    return int(texts.edges[n + 1] - texts.edges[n])


@compiled
def _title_length(ids: Texts, titles: Texts, item: int) -> int:
    return _length(titles, item) or _length(ids, item)


@compiled
def _title(text: Bytes, at: int, ids: Texts, titles: Texts, item: int) -> int:
    """The id of an item without a title."""
    return _escaped(text, at, titles if _length(titles, item) else ids, item)


@compiled
def _put(text: Bytes, at: int, some: Bytes) -> int:
    for n in range(len(some)):
        text[at + n] = some[n]
    return at + len(some)


@compiled
def _escaped(text: Bytes, at: int, texts: Texts, n: int) -> int:
    for k in range(texts.edges[n], texts.edges[n + 1]):
        letter = texts.letters[k]
        escape = ESCAPES[letter]
        if escape == PLAIN:
            text[at] = letter
            at += 1
            continue
        text[at], text[at + 1] = BACKSLASH, escape
        at += 2
        if escape == CODED:
            text[at] = text[at + 1] = HEX[0]
            text[at + 2], text[at + 3] = HEX[letter >> 4], HEX[letter & 15]
            at += 4
    return at


@compiled
def _whole(text: Bytes, at: int, number: int) -> int:
    """A number of 0 or more."""
    digits, rest = 1, number // 10
    while rest:
        digits, rest = digits + 1, rest // 10
    for k in range(digits - 1, -1, -1):
        text[at + k] = HEX[number % 10]
        number //= 10
    return at + digits


@compiled
def _decimal(text: Bytes, at: int, number: float) -> int:
    """With as many decimals as it has, at least one; null where it is none, or beyond what is counted in `UNIT`."""
    if not abs(number) < LARGEST:
        return _put(text, at, NULL)
    parts = int(np.rint(np.float64(number) * UNIT))
    if parts < 0:
        text[at] = ord("-")
        at, parts = at + 1, -parts
    at = _whole(text, at, parts // UNIT)
    text[at] = ord(".")
    at, parts, unit = at + 1, parts % UNIT, UNIT
    while True:
        unit //= 10
        text[at] = HEX[parts // unit]
        at, parts = at + 1, parts % unit
        if not parts:
            return at
