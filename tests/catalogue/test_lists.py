import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys.catalogue.item_table import NEVER, SCHEMA, ItemTable
from recsys.catalogue.lists import catalogue_of, log_of, read_lists
from recsys.errors import FeedError


def written(folder: Path, *contents: str) -> list[Path]:
    paths = [folder / f"{number}.txt" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content, encoding="utf-8")
    return paths


def catalogue(*rows: dict[str, object]) -> ItemTable:
    empty = {"categories": [], "images": [], "attributes": "{}", "available": True, "created_at": 5}
    return ItemTable(pa.Table.from_pylist([empty | row for row in rows], schema=SCHEMA))


def test_a_line_is_a_user_and_the_items_in_order(tmp_path: Path) -> None:
    (lists,) = read_lists(written(tmp_path, "u 3 1  2\n\nv\t1\r\nnobody\n"))
    assert lists == {"u": ["3", "1", "2"], "v": ["1"], "nobody": []}


def test_a_packed_file_reads_the_same(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.txt", tmp_path / "a.txt.gz"
    plain.write_text("u é 1\n", encoding="utf-8")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    one, other = read_lists([plain, packed])
    assert one == other == {"u": ["é", "1"]}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.txt", None, "does not exist"),
        ("empty.txt", b"", "holds no item"),
        ("only-users.txt", b"u\nv\n", "holds no item"),
        ("twice.txt", b"u 1\nv 2\nu 3\n", "line 3: user 'u' is there twice"),
        ("latin.txt", "u café\n".encode("latin-1"), "not UTF-8"),
        ("plain.txt.gz", b"u 1\n", "cannot be read"),
        ("cut.txt.gz", gzip.compress(b"u 1\n" * 99, mtime=0)[:-9], "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FeedError, match=says) as raised:
        read_lists([path])
    assert name in str(raised.value)


def test_items_keep_their_text_and_those_that_are_lacking_join_them(tmp_path: Path) -> None:
    lists = read_lists(written(tmp_path, "u b c\n", "u a\n"))
    known = catalogue({"id": "b", "title": "Bee", "images": ["b.jpg"]}, {"id": "z", "title": "Zed"})
    found = catalogue_of(lists, known)
    assert list(found.ids) == ["a", "b", "c", "z"]
    assert found.data["title"].to_pylist() == [None, "Bee", None, "Zed"]
    assert found.data["images"].to_pylist() == [[], ["b.jpg"], [], []]


def test_everything_in_lists_is_on_offer_whenever(tmp_path: Path) -> None:
    lists = read_lists(written(tmp_path, "u b\n"))
    gone = {"id": "b", "available": False, "published_at": 10**15, "expires_at": 10**15}
    found = catalogue_of(lists, catalogue(gone))
    assert found.available.all()
    assert found.shown_from[0] <= 0
    assert found.expires_at[0] == NEVER


def test_events_tell_their_file_and_keep_the_order_of_the_line(tmp_path: Path) -> None:
    lists = read_lists(written(tmp_path, "u c a\nv b\n", "v a\nu b a\n"))
    items = catalogue_of(lists, catalogue())
    log, file = log_of(lists, items.ids)
    told = [
        (log.actors[a], items.ids.external(np.array([i]))[0])
        for a, i in zip(log.actor, log.item, strict=True)
    ]
    assert told == [("u", "c"), ("u", "a"), ("v", "b"), ("v", "a"), ("u", "b"), ("u", "a")]
    assert file.tolist() == [0, 0, 0, 1, 1, 1]
    assert log.types == ("purchase",)
    assert (np.diff(log.time) >= 0).all()
    assert len(set(log.time.tolist())) == 2
