"""Who is taken for whom: pairs that must be found and pairs that must not, by what they show and what they say."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from zlib import crc32

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.catalogue.item_table import SCHEMA, ItemTable
from recsys.config import IndexSettings
from recsys.embedding.encoder import EncoderCard, unit_rows
from recsys.embedding.vectors import VectorTable
from recsys.identity import Floats, IdMap, ItemId, Ordinals
from recsys.index.duplicates import (
    LOOKS_ALIKE,
    MOST,
    READS_ALIKE,
    THE_SAME_PICTURE,
    TOLD_APART,
    Duplicates,
    near_duplicates,
)
from recsys.index.space import Space, build_space

DIM = 24
OTHERS = 150
"""Items that have nothing to do with those of a test, so that those make up little of the whitening."""

Said = tuple[str | None, str | None]
"""Title and description."""


def direction(seed: object, near: object = None, far: float = 0.0) -> Floats:
    """A vector of its own for everything; `far` away from another one's where that is given."""
    own = np.random.default_rng(crc32(repr(seed).encode())).normal(size=DIM)
    own /= np.linalg.norm(own)
    return (own if near is None else direction(near) + far * own).astype(np.float32)


def catalogue(
    said: Sequence[Said],
    texts: Sequence[Floats | None],
    pictures: Sequence[Floats | None],
) -> tuple[ItemTable, dict[str, Space]]:
    """These items, and behind them others."""
    more = range(OTHERS)
    said = [*said, *((f"other {n}", None) for n in more)]
    blank = dict.fromkeys(SCHEMA.names) | {"categories": [], "images": [], "attributes": "{}"}
    rows = [
        blank
        | {"id": f"{n:03}", "title": title, "description": text, "available": True, "created_at": 0}
        for n, (title, text) in enumerate(said)
    ]
    items = ItemTable(pa.Table.from_pylist(rows, SCHEMA))
    given = {"text": texts, "image": pictures}
    spaces = {}
    for kind, vectors in given.items():
        whole = [*vectors, *(direction((kind, n)) for n in more)]
        there = [n for n, vector in enumerate(whole) if vector is not None]
        ids = IdMap([ItemId(f"{n:03}") for n in there])
        card = EncoderCard("model", "1", kind, DIM, None, "")  # type: ignore[arg-type]
        table = VectorTable(ids, unit_rows(np.array([whole[n] for n in there])), card)
        spaces[kind] = build_space(items.ids, table, IndexSettings())
    return items, spaces


def groups(items: ItemTable, spaces: Mapping[str, Space]) -> list[list[int]]:
    found = near_duplicates(items, spaces)
    return [found.of_group(number).tolist() for number in range(len(found.ends) - 1)]


def cosine(space: Space, one: int, other: int) -> float:
    return float(space.rows[one] @ space.rows[other])


SAME = direction("photo")
ALMOST = direction("photo encoded anew", "photo", 0.17)


def test_the_same_photo_at_two_items_is_found_whatever_they_are_called() -> None:
    made = catalogue([("red", None), ("blue", None)], [direction(1), direction(2)], [SAME, SAME])
    assert groups(*made) == [[0, 1]]


@pytest.mark.parametrize("told_apart", [False, True])
def test_nearly_the_same_photo_is_of_one_item_unless_texts_tell_them_apart(
    told_apart: bool,
) -> None:
    texts = [direction("lamp"), direction("rug") if told_apart else direction("l", "lamp", 0.7)]
    items, spaces = catalogue([("a", None), ("b", None)], texts, [SAME, ALMOST])
    assert LOOKS_ALIKE < cosine(spaces["image"], 0, 1) < THE_SAME_PICTURE
    assert (cosine(spaces["text"], 0, 1) < TOLD_APART) == told_apart
    assert groups(items, spaces) == ([] if told_apart else [[0, 1]])
    assert groups(items, {"image": spaces["image"]}) == [[0, 1]], "where there are no texts"


def test_items_with_different_photos_are_different_however_alike_they_read() -> None:
    said = [("White T-shirt", "Cotton")] * 3
    made = catalogue(said, [direction("shirt")] * 3, [direction(1), direction(2), None])
    assert groups(*made) == []


def test_a_chain_is_one_group() -> None:
    pictures = [direction("left", "photo", 0.19), SAME, direction("right", "photo", 0.19)]
    items, spaces = catalogue([("a", None)] * 3, [direction("a")] * 3, pictures)
    assert cosine(spaces["image"], 0, 2) < LOOKS_ALIKE
    assert groups(items, spaces) == [[0, 1, 2]]


def test_a_photo_that_many_share_is_a_placeholder_but_for_those_that_read_alike() -> None:
    others = [(f"thing {n}", None) for n in range(MOST)]
    twins = [("Desk lamp, black", "of steel"), ("desk lamp - black", "of steel")]
    texts = [direction(n) for n in range(MOST)] + [direction("lamp")] * 2
    made = catalogue(others + twins, texts, [SAME] * (MOST + 2))
    assert groups(*made) == [[MOST, MOST + 1]]
    few = catalogue(others, texts[:MOST], [SAME] * MOST)
    assert groups(*few) == [list(range(MOST))]


@pytest.mark.parametrize("pictured", [False, True])
def test_what_many_items_are_called_names_none_of_them_unless_they_look_alike_too(
    pictured: bool,
) -> None:
    many = MOST + 1
    said, texts = [("T-shirt", None)] * many, [direction("shirt")] * many
    made = catalogue(said, texts, [SAME if pictured else None] * many)
    assert groups(*made) == ([list(range(many))] if pictured else [])
    made = catalogue(said[1:], texts[1:], [None] * MOST)
    assert groups(*made) == [list(range(MOST))]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("Cleanser, 16 fl oz.", None), ("CLEANSER - 16 FL OZ", None), True),
        (("Grüße", "A film"), ("GRÜSSE", "A film"), False),
        (("Ärmel", "A film"), ("ärmel!", "The film"), True),
        (("Volume 1", None), ("Volume 2", None), False),
        (("Human Condition I", None), ("Human Condition II", None), False),
        (("Phone", "64 GB, black"), ("Phone", "128 GB, black"), False),
        (("Phone", "64 GB, black"), ("Phone", "black, 64 GB"), True),
        (("Shampoo", "for dry hair"), ("Conditioner", "for dry hair"), False),
        ((None, "A film of 1995"), (None, "a film, of 1995"), True),
        ((None, "A film of 1995"), (None, "A film of 1996"), False),
        ((None, None), (None, None), False),
        (("...", "a"), ("!", "a"), False),
    ],
)
def test_without_photos_the_words_of_the_title_and_all_numbers_must_be_the_same(
    one: Said, other: Said, same: bool
) -> None:
    made = catalogue([one, other], [direction("text")] * 2, [None, None])
    assert groups(*made) == ([[0, 1]] if same else [])


def test_two_of_one_title_are_different_where_the_rest_of_their_texts_is() -> None:
    texts = [direction("a comedy"), direction("a tragedy", "a comedy", 0.9)]
    items, spaces = catalogue([("Emma (1996)", None)] * 2, texts, [None] * 2)
    assert 0.5 < cosine(spaces["text"], 0, 1) < READS_ALIKE
    assert groups(items, spaces) == []


def test_nothing_is_found_where_nothing_is_known() -> None:
    items, spaces = catalogue([("a", None)] * 2, [None] * 2, [None] * 2)
    assert groups(items, spaces) == groups(items, {}) == []
    assert not near_duplicates(items, {})


def by_brute_force(said: Sequence[Said], spaces: Mapping[str, Space]) -> list[list[int]]:
    """The rule, pair by pair."""
    text, image = spaces["text"], spaces["image"]
    every = list(combinations(range(len(text.present)), 2))
    look = [
        (a, b)
        for a, b in every
        if cosine(image, a, b) >= LOOKS_ALIKE and image.present[[a, b]].all()
    ]
    shown = parts(len(text.present), look)
    crowd = {item for part in shown if len(part) > MOST for item in part}
    pairs = [
        (a, b)
        for a, b in look
        if a not in crowd
        and (
            cosine(image, a, b) >= THE_SAME_PICTURE
            or cosine(text, a, b) >= TOLD_APART
            or not text.present[[a, b]].all()
        )
    ]
    crowds = [set(part) for part in shown if len(part) > MOST]
    without = set(np.flatnonzero(~image.present).tolist())
    for a, b in combinations(range(len(said)), 2):
        together = any({a, b} <= some for some in [*crowds, without])
        if together and said[a] == said[b] and cosine(text, a, b) >= READS_ALIKE:
            pairs.append((a, b))
    found = parts(len(text.present), pairs)
    return [p for p in found if len(p) > 1 and not (len(p) > MOST and p[0] in without)]


def parts(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    label = list(range(count))
    for a, b in pairs:
        label = [label[a] if mine == label[b] else mine for mine in label]
    return [[n for n in range(count) if label[n] == mine] for mine in dict.fromkeys(label)]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31))
def test_the_groups_are_those_of_the_rule_pair_by_pair(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, kinds = int(rng.integers(2, 55)), int(rng.integers(1, 8))

    def vectors(missing: float) -> list[Floats | None]:
        return [
            direction((seed, n), int(rng.integers(kinds)), float(rng.choice([0, 0.1, 0.18, 0.5])))
            if rng.random() >= missing
            else None
            for n in range(count)
        ]

    said = [(f"title {rng.integers(3)}", None) for _ in range(count)]
    items, spaces = catalogue(said, vectors(0.1), vectors(rng.choice([0.2, 0.8])))
    assert groups(items, spaces) == by_brute_force(said, spaces)


def test_of_each_group_the_others_and_the_first() -> None:
    labels = np.array([7, 3, 3, 7, 5, 3])
    found = Duplicates.of(labels, np.array([0, 1, 2, 3, 5]))
    assert found.group.tolist() == [0, 1, 1, 0, -1, 1]
    assert [found.of_group(n).tolist() for n in (0, 1)] == [[0, 3], [1, 2, 5]]

    def of(*items: int) -> Ordinals:
        return np.array(items, dtype=np.int64)

    assert found.with_others(of(5, 4, 2)).tolist() == [5, 4, 2, 1, 2, 5]
    assert found.with_others(of(4)).tolist() == [4]
    assert found.with_others(of()).tolist() == []
    assert found.first_of_each(of(5, 4, 3, 1, 0)).tolist() == [0, 1, 2]
