"""Ids are found again, whatever they are made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.catalogue.item_table import Texts
from recsys.identity import ABSENT, IdMap
from recsys.lookup import Lookup

ODD = [
    "a",
    "A",
    "",
    " ",
    "a ",
    "ä",
    "a\u0308",
    "音楽",
    "🎬",
    "x" * 3_000,
    "x" * 3_001,
    "0",
    "00",
    "\0",
]


@settings(deadline=None)
@given(st.lists(st.text(), unique=True), st.lists(st.text()))
def test_it_says_what_a_dictionary_says(ids: list[str], others: list[str]) -> None:
    ids = [key for key in ids if key.isprintable()]
    others = [key for key in others if key.isprintable()]
    lookup, known = Lookup.over(Texts.of_strings(ids)), IdMap(ids)
    asked = [*others, *ids, *ids[::-1]]
    assert lookup.ordinals(asked).tolist() == known.ordinals(asked).tolist()


@pytest.mark.parametrize("key", ODD)
def test_an_odd_id_is_itself_and_no_other(key: str) -> None:
    lookup = Lookup.over(Texts.of_strings(ODD))
    assert lookup.ordinal(key) == ODD.index(key)
    rest = [one for one in ODD if one != key]
    assert lookup.ordinals(rest).tolist() == [ODD.index(one) for one in rest]
    assert Lookup.over(Texts.of_strings(rest)).ordinal(key) == ABSENT


def test_among_many_each_is_found_and_strangers_are_not() -> None:
    ids = [f"item-{n}" for n in range(50_000)]
    lookup = Lookup.over(Texts.of_strings(ids))
    assert np.array_equal(lookup.ordinals(ids), np.arange(50_000))
    assert (lookup.ordinals([f"item-{n}" for n in range(50_000, 90_000)]) == ABSENT).all()


def test_an_empty_catalogue_knows_nobody_and_what_is_no_text_is_unknown() -> None:
    assert Lookup.over(Texts.of_strings([])).ordinals(["a"]).tolist() == [ABSENT]
    assert Lookup.over(Texts.of_strings(["a"])).ordinals([]).tolist() == []
    assert Lookup.over(Texts.of_strings(["a"])).ordinals(["\ud800", "a"]).tolist() == [ABSENT, 0]
