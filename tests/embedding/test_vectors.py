"""Which contents are embedded, what is kept between runs, and what becomes of bad ones."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recsys.embedding.encoder import EncoderCard, unit_rows
from recsys.embedding.image import LiteEncoder
from recsys.embedding.pictures import Fetched, Pictures
from recsys.embedding.projection import Projection
from recsys.embedding.store import VectorStore, content_key
from recsys.embedding.text import TextEncoder
from recsys.embedding.vectors import Embedded, VectorTable, embed_items
from recsys.identity import IdMap, ItemId

PICTURES = Pictures(Path(), Fetched(Path("nowhere")))


class LetterCounter:
    """A small real encoder: how often each letter occurs. Counts what it is given."""

    card = EncoderCard("letters", "1", "text", 26, None, "title")

    def __init__(self, fail_after: int | None = None) -> None:
        self.seen: list[str] = []
        self._fail_after = fail_after

    def encode(self, contents: Sequence[str]) -> np.ndarray:
        if self._fail_after is not None and len(self.seen) + len(contents) > self._fail_after:
            raise KeyboardInterrupt
        self.seen += contents
        rows = [[text.count(chr(97 + n)) for n in range(26)] for text in contents]
        return unit_rows(np.array(rows, dtype=np.float64))


def ids(count: int) -> IdMap[ItemId]:
    return IdMap(ItemId(f"item {n}") for n in range(count))


def embed(
    texts: Sequence[str | None], folder: Path, encoder: LetterCounter | None = None
) -> tuple[Embedded, list[str]]:
    encoder = encoder or LetterCounter()
    return embed_items(ids(len(texts)), texts, encoder, folder, PICTURES), encoder.seen


def words(count: int) -> list[str]:
    """Distinct texts of letters."""
    return [f"{n:b}".replace("0", "a").replace("1", "b") + "c" for n in range(count)]


def test_the_same_contents_again_embed_nothing(tmp_path: Path) -> None:
    first, seen = embed(["abc", "bcd"], tmp_path)
    again, seen_again = embed(["abc", "bcd"], tmp_path)
    assert seen == ["abc", "bcd"] and seen_again == []
    assert (first.embedded, first.reused) == (2, 0)
    assert (again.embedded, again.reused) == (0, 2)
    np.testing.assert_array_equal(again.table.rows, first.table.rows)


def test_only_changed_content_is_embedded(tmp_path: Path) -> None:
    embed(words(50), tmp_path)
    changed = [*words(50), "new"]
    changed[7] = "changed"
    result, seen = embed(changed, tmp_path)
    assert seen == ["changed", "new"]
    np.testing.assert_allclose(result.table.rows, LetterCounter().encode(changed), atol=1e-7)


def test_an_edit_taken_back_costs_nothing(tmp_path: Path) -> None:
    for text in ("before", "after", "before"):
        result, seen = embed([text], tmp_path)
    assert seen == [] and result.reused == 1


def test_items_with_the_same_text_share_one_embedding(tmp_path: Path) -> None:
    result, seen = embed(["same", "other", "same"], tmp_path)
    assert seen == ["same", "other"]
    np.testing.assert_array_equal(result.table.rows[0], result.table.rows[2])


def test_where_texts_are_made_of_other_fields_those_that_stay_the_same_are_not_embedded_again(
    tmp_path: Path,
) -> None:
    embed(["Heat", "Toy Story"], tmp_path)
    other = LetterCounter()
    other.card = replace(other.card, template="title. attributes")
    result, seen = embed(["Heat. Michael Mann", "Toy Story"], tmp_path, other)
    assert seen == ["Heat. Michael Mann"]
    assert result.table.card.template == "title. attributes"


@pytest.mark.parametrize("change", [{"revision": "2"}, {"max_tokens": 9}])
def test_another_encoder_embeds_all_anew_and_the_old_vectors_stay(
    tmp_path: Path, change: dict[str, object]
) -> None:
    embed(words(5), tmp_path)
    other = LetterCounter()
    other.card = replace(other.card, **change)
    assert len(embed(words(5), tmp_path, other)[1]) == 5
    assert embed(words(5), tmp_path)[1] == []


def test_an_interrupted_run_resumes_where_it_was(tmp_path: Path) -> None:
    texts = words(2_500)
    stopped = LetterCounter(fail_after=2_000)
    with pytest.raises(KeyboardInterrupt):
        embed(texts, tmp_path, stopped)
    result, seen = embed(texts, tmp_path)
    assert stopped.seen == texts[:2_000] and seen == texts[2_000:]
    assert (result.embedded, result.reused) == (500, 2_000)
    np.testing.assert_allclose(result.table.rows, LetterCounter().encode(texts), atol=1e-7)


def test_an_item_without_content_is_absent_and_no_problem(tmp_path: Path) -> None:
    result, _ = embed([None, "abc", None], tmp_path)
    assert list(result.table.ids) == ["item 1"] and not result.problems


def test_unusable_content_is_reported_by_id_and_the_rest_goes_on(tmp_path: Path) -> None:
    result, _ = embed(["abc", "", "  \n", "\ud800", "123", "bcd"], tmp_path)
    assert list(result.table.ids) == ["item 0", "item 5"]
    assert result.problems == {
        "item 1": "the text is empty",
        "item 2": "the text is empty",
        "item 3": "the text is not valid Unicode",
        "item 4": "the encoder gave no usable vector",  # it has no letters: a row of zeros
    }


def test_nothing_to_embed_is_fine(tmp_path: Path) -> None:
    for texts in ([], [None], [""], ["123"]):
        assert embed(texts, tmp_path)[0].table.rows.shape == (0, 26)


def test_a_table_has_one_content_per_item(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        embed_items(ids(2), ["abc"], LetterCounter(), tmp_path, PICTURES)


def test_progress_counts_items_to_the_end(tmp_path: Path) -> None:
    done: list[int] = []
    embed_items(ids(600), words(600), LetterCounter(), tmp_path, PICTURES, done.append)
    assert done == sorted(done) and done[-1] == 600


def test_a_damaged_part_is_dropped_reported_and_embedded_again(tmp_path: Path) -> None:
    whole, _ = embed(words(2_000), tmp_path)
    parts = sorted(tmp_path.rglob("part-*.npz"))
    assert len(parts) == 2
    data = bytearray(parts[0].read_bytes())
    data[len(data) // 2] ^= 1  # one bit, as a failing disk would
    parts[0].write_bytes(data)
    result, seen = embed(words(2_000), tmp_path)
    assert result.damaged == (parts[0].name,) and len(seen) == 1_000
    np.testing.assert_allclose(result.table.rows, whole.table.rows, atol=1e-7)
    assert embed(words(2_000), tmp_path)[0].damaged == ()


@pytest.mark.parametrize("content", [b"", b"PK", b"not an archive", None])
def test_any_unreadable_part_is_dropped(tmp_path: Path, content: bytes | None) -> None:
    embed(words(3), tmp_path)
    [part] = tmp_path.rglob("part-*.npz")
    part.write_bytes(part.read_bytes()[:-30] if content is None else content)
    result, seen = embed(words(3), tmp_path)
    assert result.damaged == (part.name,) and len(seen) == 3


def test_a_part_of_other_numbers_is_dropped(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, 4)
    store.add([b"k" * 16], np.full((1, 4), np.nan, dtype=np.float32))
    store.add([b"l" * 16], np.ones((1, 4), dtype=np.float32))
    assert len(VectorStore(tmp_path, 4).damaged) == 1
    assert len(VectorStore(tmp_path, 5).damaged) == 1


def test_what_a_killed_write_left_is_swept_and_never_read(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, 4)
    store.add([b"k" * 16], np.ones((1, 4), dtype=np.float32))
    (tmp_path / "part-half.tmp").write_bytes(b"half")
    again = VectorStore(tmp_path, 4)
    assert len(again) == 1 and not again.damaged and not list(tmp_path.glob("*.tmp"))


def test_many_small_parts_become_one_and_nothing_is_lost(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    store = VectorStore(tmp_path, 4)
    keys = [content_key(bytes([n])) for n in range(60)]
    rows = random.normal(size=(60, 4)).astype(np.float32)
    for key, row in zip(keys, rows, strict=True):
        store.add([key], row[None, :])
    merged = VectorStore(tmp_path, 4)
    assert len(list(tmp_path.glob("part-*.npz"))) == 1
    np.testing.assert_array_equal(merged.rows(keys), rows)
    np.testing.assert_array_equal(VectorStore(tmp_path, 4).rows(keys[::-1]), rows[::-1])


def test_an_unknown_key_is_a_loud_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        VectorStore(tmp_path, 4).rows([b"k" * 16])


def test_real_texts_come_back_as_they_were_encoded(tmp_path: Path, minilm: TextEncoder) -> None:
    texts = ["Heat (1995)", "Toy Story (1995)", "Heat (1995)"]
    result = embed_items(ids(3), texts, minilm, tmp_path, PICTURES)
    np.testing.assert_allclose(result.table.rows, minilm.encode(texts), atol=1e-5)
    again = embed_items(ids(3), texts, minilm, tmp_path, PICTURES)
    assert again.embedded == 0 and again.table.card == minilm.card


def test_pictures_of_an_item_are_averaged_and_broken_ones_reported(
    tmp_path: Path, lite: LiteEncoder
) -> None:
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        pixels = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"broken")
    contents = [
        ("a.png",),
        ("a.png", "b.png"),
        ("b.png", "broken.png", "gone.png"),
        ("gone.png",),
        (),
    ]
    pictures = Pictures(tmp_path, Fetched(tmp_path / "fetched"))
    result = embed_items(ids(5), contents, lite, tmp_path / "vectors", pictures)
    assert list(result.table.ids) == ["item 0", "item 1", "item 2"]
    assert (result.embedded, result.reused) == (2, 0)
    a, both, b = result.table.rows
    np.testing.assert_allclose(both, unit_rows((a + b)[None, :])[0], atol=1e-5)
    assert set(result.problems) == {"item 2", "item 3"}
    assert "broken.png: not a readable picture" in result.problems["item 2"]
    assert "gone.png is not a file" in result.problems["item 2"]

    Image.fromarray(255 - np.asarray(Image.open(tmp_path / "a.png"))).save(tmp_path / "a.png")
    again = embed_items(ids(5), contents, lite, tmp_path / "vectors", pictures)
    assert (again.embedded, again.reused) == (1, 1)
    assert np.abs(again.table.rows[0] - a).max() > 1e-3


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((2, 26), dtype=np.float32),
        np.full((2, 26), np.nan, dtype=np.float32),
        np.eye(2, 26),
        np.eye(2, 25, dtype=np.float32),
        np.eye(3, 26, dtype=np.float32),
    ],
)
def test_a_table_of_anything_but_unit_rows_cannot_be_made(rows: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"unit length|expected"):
        VectorTable(ids(2), rows, LetterCounter.card)


def test_a_table_aligns_with_other_ids() -> None:
    table = VectorTable(ids(2), np.eye(2, 26, dtype=np.float32), LetterCounter.card)
    rows, present = table.aligned(IdMap([ItemId("item 1"), ItemId("new"), ItemId("item 0")]))
    assert present.tolist() == [True, False, True]
    assert rows.argmax(axis=1).tolist() == [1, 0, 0] and not rows[1].any()


def test_whitening_follows_its_formula() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(400, 6)) * [9, 3, 1, 1, 1, 0.1] + 2)
    values = rows.astype(np.float64)
    centred = values - values.mean(axis=0)
    spread, directions = np.linalg.eigh(centred.T @ centred / 400)
    ridge = (0.1 + 5 * 6 / 400) * spread.mean()
    expected = centred @ directions / np.sqrt(spread + ridge) @ directions.T
    whitened = Projection.whitening(rows).apply(rows)
    np.testing.assert_allclose(whitened, unit_rows(expected), atol=1e-4)
    assert whitened.dtype == np.float32


def test_whitening_takes_out_what_all_rows_share() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(3_000, 16)) + 3)
    assert (rows @ rows.T).mean() > 0.8
    whitened = Projection.whitening(rows).apply(rows)
    assert abs((whitened @ whitened.T).mean()) < 0.01


@pytest.mark.parametrize("count", [0, 1])
def test_whitening_of_fewer_than_two_rows_changes_nothing(count: int) -> None:
    rows = np.eye(count, 5, dtype=np.float32)
    np.testing.assert_array_equal(Projection.whitening(rows).apply(rows), rows)


def test_whitening_keeps_neighbours_when_rows_are_fewer_than_numbers() -> None:
    random = np.random.default_rng(0)
    centres = random.normal(size=(10, 64))
    rows = unit_rows(np.repeat(centres, 4, axis=0) + 0.5 * random.normal(size=(40, 64)))
    whitened = Projection.whitening(rows).apply(rows)
    cosine = whitened @ whitened.T - 2 * np.eye(40)
    assert (cosine.argmax(axis=1) // 4 == np.arange(40) // 4).mean() > 0.9


def test_identical_rows_are_whitened_to_finite_ones() -> None:
    rows = unit_rows(np.ones((4, 8)))
    assert np.isfinite(Projection.whitening(rows).apply(rows)).all()


def test_two_jobs_at_once_embed_each_content_once(tmp_path: Path) -> None:
    """`recsys evaluate` beside the nightly rebuild: the second waits, and finds the vectors there."""
    contents, inside = words(50), threading.Event()

    class Slow(LetterCounter):
        def encode(self, contents: Sequence[str]) -> np.ndarray:
            inside.set()
            time.sleep(0.3)
            return super().encode(contents)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(embed, contents, tmp_path, Slow())
        assert inside.wait(10)
        second, _ = embed(contents, tmp_path)
    assert (first.result()[0].embedded, second.embedded, second.reused) == (50, 0, 50)
