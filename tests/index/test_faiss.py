"""Choosing, saving and loading FAISS indexes."""

from pathlib import Path

import numpy as np
import pytest

from recsys.config import IndexSettings
from recsys.errors import SnapshotCorrupt
from recsys.index.exact import ExactIndex
from recsys.index.faiss import FaissIndex, build_index, choose_kind, load_index, measure_recall

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(600, 16)).astype(np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
GRAPH = IndexSettings(exact_below=1)
LISTS = IndexSettings(exact_below=1, hnsw_below=1)


def built(settings: IndexSettings) -> FaissIndex:
    index = build_index(ROWS, settings)
    assert isinstance(index, FaissIndex)
    return index


@pytest.mark.parametrize(
    ("count", "kind"),
    [(0, "exact"), (50_000, "exact"), (50_001, "hnsw"), (500_000, "hnsw"), (500_001, "ivf")],
)
def test_the_number_of_vectors_chooses_the_kind(count: int, kind: str) -> None:
    assert choose_kind(count, IndexSettings()) == kind


@pytest.mark.parametrize(("kind", "settings"), [("hnsw", GRAPH), ("ivf", LISTS)])
def test_a_loaded_index_answers_like_the_one_that_was_saved(
    tmp_path: Path, kind: str, settings: IndexSettings
) -> None:
    index = built(settings)
    index.write(tmp_path / "x.faiss")
    loaded = load_index(kind, tmp_path / "x.faiss", ROWS)
    np.testing.assert_array_equal(
        loaded.search(ROWS[:20], 10).ordinals, index.search(ROWS[:20], 10).ordinals
    )


def test_an_exact_index_needs_no_file(tmp_path: Path) -> None:
    loaded = load_index("exact", tmp_path / "nothing.faiss", ROWS)
    assert loaded.search(ROWS[3:4], 1).ordinals.tolist() == [[3]]


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "garbage"])
def test_a_damaged_index_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.faiss"
    built(GRAPH).write(path)
    whole = path.read_bytes()
    contents = {"empty": b"", "cut": whole[: len(whole) // 2], "garbage": b"GARB" + whole[4:]}
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(contents[damage])
    with pytest.raises(SnapshotCorrupt, match=r"x\.faiss is not a readable FAISS index"):
        load_index("hnsw", path, ROWS)


def test_an_index_of_other_rows_is_refused(tmp_path: Path) -> None:
    built(GRAPH).write(tmp_path / "x.faiss")
    with pytest.raises(SnapshotCorrupt, match=r"600 vectors of 16 numbers.*\(599, 16\)"):
        load_index("hnsw", tmp_path / "x.faiss", ROWS[:599])


def test_recall_counts_any_of_several_duplicates_as_found() -> None:
    rows = np.repeat(ROWS[:30], 20, axis=0)
    assert measure_recall(build_index(rows, GRAPH), rows) > 0.95


def test_recall_falls_when_neighbours_are_missed() -> None:
    shuffled = ExactIndex(RANDOM.permutation(ROWS) * np.float32(0.5))
    assert measure_recall(shuffled, ROWS) < 0.2


def test_recall_of_an_index_of_nothing_is_whole() -> None:
    assert measure_recall(ExactIndex(ROWS[:0]), ROWS[:0]) == 1.0
