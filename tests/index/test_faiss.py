"""Choosing, saving and loading FAISS indexes."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from recsys.config import IndexSettings
from recsys.errors import SnapshotCorrupt
from recsys.index.exact import ExactIndex, Exam
from recsys.index.faiss import FaissIndex, build_index, choose_kind, load_index

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(600, 16)).astype(np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
LISTS = IndexSettings(exact_below=1)


def built() -> FaissIndex:
    index = build_index(ROWS, LISTS)
    assert isinstance(index, FaissIndex)
    return index


@pytest.mark.parametrize(
    ("count", "kind"),
    [(0, "exact"), (20_000, "exact"), (20_001, "ivf"), (1_000_000, "ivf")],
)
def test_the_number_of_vectors_chooses_the_kind(count: int, kind: str) -> None:
    assert choose_kind(count, IndexSettings()) == kind


def test_a_loaded_index_answers_like_the_one_that_was_saved(tmp_path: Path) -> None:
    index = built()
    index.write(tmp_path / "x.faiss")
    loaded = load_index("ivf", tmp_path / "x.faiss", ROWS)
    np.testing.assert_array_equal(
        loaded.search(ROWS[:20], 10).ordinals, index.search(ROWS[:20], 10).ordinals
    )


def test_an_exact_index_needs_no_file(tmp_path: Path) -> None:
    loaded = load_index("exact", tmp_path / "nothing.faiss", ROWS)
    assert loaded.search(ROWS[3:4], 1).ordinals.tolist() == [[3]]


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "garbage"])
def test_a_damaged_index_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.faiss"
    built().write(path)
    whole = path.read_bytes()
    contents = {"empty": b"", "cut": whole[: len(whole) // 2], "garbage": b"GARB" + whole[4:]}
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(contents[damage])
    with pytest.raises(SnapshotCorrupt, match=r"x\.faiss is not a readable FAISS index"):
        load_index("ivf", path, ROWS)


def test_an_index_of_other_rows_is_refused(tmp_path: Path) -> None:
    built().write(tmp_path / "x.faiss")
    with pytest.raises(SnapshotCorrupt, match=r"600 vectors of 16 numbers.*\(599, 16\)"):
        load_index("ivf", tmp_path / "x.faiss", ROWS[:599])


def test_an_index_of_another_kind_is_refused(tmp_path: Path) -> None:
    faiss.write_index(faiss.IndexFlatIP(16), str(tmp_path / "x.faiss"))
    with pytest.raises(SnapshotCorrupt, match=r"holds no inverted lists.*rebuild"):
        load_index("ivf", tmp_path / "x.faiss", ROWS)


def test_more_answers_are_looked_for_in_more_lists() -> None:
    rows = np.random.default_rng(3).normal(size=(5_000, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries = rows[::100]
    for k in (10, 300, 4_000):
        truth = ExactIndex(rows).search(queries, k).ordinals
        found = build_index(rows, LISTS).search(queries, k).ordinals
        shared = [np.isin(a, b).mean() for a, b in zip(truth, found, strict=True)]
        assert np.mean(shared) > 0.95


def test_recall_counts_any_of_several_duplicates_as_found() -> None:
    rows = np.repeat(ROWS[:30], 20, axis=0)
    assert Exam.of(rows, 10).recall(build_index(rows, LISTS)) > 0.95


def test_recall_falls_when_neighbours_are_missed() -> None:
    shuffled = ExactIndex(RANDOM.permutation(ROWS) * np.float32(0.5))
    assert Exam.of(ROWS, 10).recall(shuffled) < 0.2


def test_finding_a_row_by_itself_is_no_recall() -> None:
    class Mirror(ExactIndex):
        def search(self, queries, k, allowed=None):
            found = super().search(queries, k, allowed)
            found.scores[:, 1:] = -np.inf
            return found

    assert Exam.of(ROWS, 10).recall(Mirror(ROWS)) == 0


def test_recall_of_an_index_of_nothing_is_whole() -> None:
    assert Exam.of(ROWS[:0], 10).recall(ExactIndex(ROWS[:0])) == 1.0
