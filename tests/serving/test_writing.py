"""What a page shows is JSON of what the slates hold, whatever the ids, titles and scores are."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.catalogue.item_table import SCHEMA, ItemTable
from recsys.identity import ABSENT
from recsys.ranking.block import Lists
from recsys.ranking.reasons import PHRASES, Phrase
from recsys.ranking.slates import Slates
from recsys.serving.writing import in_json

TITLES = [
    "plain",
    'she said "no"',
    "back\\slash and /slash",
    "two\nlines\r\n, a\ttab, \b and \f",
    "".join(map(chr, range(32))) + "\x7f",
    "Über Größe, 音楽 🎬 \u2028 \U0010ffff",
    "",
    None,
    "x" * 5_000 + '"' * 5_000,
]

SCORES = [0.0, -0.0, 1.0, -1.5, 1e-6, -1e-6, 4e-7, 0.1, 123456.789, 9.999999, 0.9999996, 1e5, 2 / 3]


def catalogue() -> ItemTable:
    """One item for each of the titles; ids are hard to write, too."""
    count = len(TITLES)
    columns: dict[str, list[Any]] = {name: [None] * count for name in SCHEMA.names}
    columns |= {
        "id": [f'"{n}"\\\t{"é" * n}' for n in range(count)],
        "title": TITLES,
        "categories": [[]] * count,
        "images": [[]] * count,
        "attributes": ["{}"] * count,
        "available": [True] * count,
        "created_at": [0] * count,
    }
    return ItemTable(pa.table(columns, SCHEMA))


def slates(starts: list[int], items: list[int], scores: list[float], named: list[int]) -> Slates:
    phrases = [PHRASES.index(Phrase("goes with *", "*")), PHRASES.index(Phrase("promoted"))]
    return Slates(
        items=Lists(np.array(starts), np.array(items)),
        scores=np.array(scores, dtype=np.float32),
        names=(),
        parts=np.empty((0, len(items)), dtype=np.float32),
        said=(),
        phrase=np.array([phrases[one == ABSENT] for one in named]),
        named=np.array(named),
        account=None,  # type: ignore[arg-type]
        catalogue=catalogue(),
    )


def read(text: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(b"[%b]" % text)
    return found


def test_ids_titles_and_reasons_are_those_of_the_catalogue() -> None:
    count = len(TITLES)
    every = list(range(count))
    made = slates([0, count], every, [0.5] * count, every[::-1])
    names = [title or key for title, key in zip(TITLES, made.catalogue.ids, strict=True)]
    assert read(in_json(made)[0]) == [
        {
            "item_id": made.catalogue.ids.external(np.array([n]))[0],
            "rank": n + 1,
            "score": 0.5,
            "reason": f"goes with *{names[count - 1 - n]}*",
            "title": names[n],
        }
        for n in every
    ]


@pytest.mark.parametrize("score", SCORES)
def test_a_score_has_six_decimals(score: float) -> None:
    text = in_json(slates([0, 1], [0], [score], [ABSENT]))[0]
    assert read(text)[0]["score"] == round(float(np.float32(score)), 6)
    assert isinstance(read(text)[0]["score"], float)


def test_any_score_is_written_as_it_is_rounded() -> None:
    rng = np.random.default_rng(0)
    scores = (rng.normal(size=2_000) * 10.0 ** rng.integers(-6, 5, 2_000)).astype(np.float32)
    made = slates([0, 2_000], [0] * 2_000, scores.tolist(), [ABSENT] * 2_000)
    written = [place["score"] for place in read(in_json(made)[0])]
    assert written == scores.astype(np.float64).round(6).tolist()
    assert [place["rank"] for place in read(in_json(made)[0])] == list(range(1, 2_001))


def test_each_slate_has_its_own_text_and_some_may_be_empty() -> None:
    made = slates([0, 0, 2, 2, 3, 3], [1, 0, 2], [3.0, 2.0, 1.0], [ABSENT, 5, ABSENT])
    texts = in_json(made)
    assert [[place["rank"] for place in read(text)] for text in texts] == [[], [1, 2], [], [1], []]
    assert read(texts[1])[1]["reason"] == f"goes with *{TITLES[5]}*"
    assert read(texts[3])[0]["reason"] == "promoted"


def test_what_is_no_item_and_no_score_is_loud_or_null() -> None:
    for item, named in ((ABSENT, ABSENT), (len(TITLES), ABSENT), (0, len(TITLES))):
        with pytest.raises(IndexError, match="no such item"):
            in_json(slates([0, 1], [item], [1.0], [named]))
    for score in (np.nan, np.inf, -np.inf, 1e30):
        assert read(in_json(slates([0, 1], [0], [score], [ABSENT]))[0])[0]["score"] is None


def test_some_places_are_shown_from_a_rank_on() -> None:
    made = slates([0, 3], [0, 1, 2], [3.0, 2.0, 1.0], [ABSENT] * 3)
    (text,) = in_json(made, Lists.of([np.array([0, 2])]), first=11)
    assert [(place["rank"], place["title"]) for place in read(text)] == [
        (11, TITLES[0]),
        (12, TITLES[2]),
    ]
