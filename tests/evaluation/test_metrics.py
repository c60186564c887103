import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from recsys.evaluation.metrics import Shelf, accuracy, diversity, estimates
from recsys.identity import ABSENT

NAN = np.nan


def slate(*items: int) -> np.ndarray:
    """One slate of twenty places."""
    return np.array([[*items, *[ABSENT] * (20 - len(items))]])


def test_a_perfect_slate_has_ndcg_recall_and_mrr_of_1() -> None:
    found = accuracy(slate(4, 2, 9), [np.array([2, 4, 9])])
    assert {name: float(v[0]) for name, v in found.items()} == pytest.approx(
        dict.fromkeys(found, 1.0)
    )


def test_one_of_two_targets_on_the_second_place() -> None:
    found = accuracy(slate(7, 3, 1), [np.array([3, 8])])
    assert found["ndcg@10"] == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))
    assert found["recall@10"] == pytest.approx(0.5)
    assert found["mrr@10"] == pytest.approx(0.5)
    assert found["hit@10"] == 1


def test_a_target_on_place_11_counts_at_20_and_not_at_10() -> None:
    found = accuracy(slate(*range(20)), [np.array([10])])
    assert [found[f"{name}@10"][0] for name in ("ndcg", "recall", "hit", "mrr")] == [0, 0, 0, 0]
    assert found["ndcg@20"] == pytest.approx(1 / np.log2(12))
    assert found["mrr@20"] == pytest.approx(1 / 11)


def test_the_ideal_slate_of_30_targets_is_full_of_them_and_recall_still_asks_for_all() -> None:
    found = accuracy(slate(*range(20)), [np.arange(30)])
    assert found["ndcg@10"] == pytest.approx(1)
    assert found["recall@10"] == pytest.approx(10 / 30)


def test_empty_places_are_never_hits() -> None:
    found = accuracy(slate(), [np.array([0, 19])])
    assert not any(values.any() for values in found.values())


ORACLE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from ranx import Qrels, Run, evaluate
given = json.load(sys.stdin)
print(json.dumps(evaluate(Qrels(given["wanted"]), Run(given["run"]), given["names"])))
"""
"""In a process of its own, and not compiled: that takes half a minute, and the answer is the same."""


def test_accuracy_equals_that_of_an_independent_library() -> None:
    rng = np.random.default_rng(0)
    slates = np.array([rng.permutation(60)[:20] for _ in range(40)])
    targets = [np.sort(rng.permutation(60)[: rng.integers(1, 30)]) for _ in range(40)]
    names = [f"{name}@{k}" for name in ("ndcg", "recall", "mrr") for k in (10, 20)]
    given = {
        "run": {
            f"q{q}": {f"i{item}": float(20 - rank) for rank, item in enumerate(row)}
            for q, row in enumerate(slates)
        },
        "wanted": {f"q{q}": {f"i{item}": 1 for item in row} for q, row in enumerate(targets)},
        "names": names,
    }
    answer = subprocess.run(
        [sys.executable, "-c", ORACLE],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(answer.stdout.splitlines()[-1])
    ours = accuracy(slates, targets)
    for name in names:
        assert ours[name].mean() == pytest.approx(theirs[name], abs=1e-6), name


def shelf(support: list[float], rows: np.ndarray | None = None) -> Shelf:
    counts = np.array(support, dtype=np.float32)
    return Shelf(np.ones(len(counts), dtype=bool), counts, rows)


def test_coverage_is_the_share_of_available_items_that_anybody_is_shown() -> None:
    available = np.array([True, True, True, True, False])
    known = Shelf(available, np.zeros(5, dtype=np.float32), None)
    assert known.coverage(np.array([[0, 1], [1, ABSENT]])) == 0.5


def test_coverage_looks_at_ten_places() -> None:
    assert shelf([0] * 20).coverage(np.arange(20)[None, :]) == 0.5


def test_novelty_is_the_surprise_of_an_item_under_the_likes_of_the_past() -> None:
    known = shelf([6, 0])  # chances 7/8 and 1/8
    found = known.beyond_accuracy(np.array([[1, ABSENT], [0, 1]]))["novelty@10"]
    assert found == pytest.approx([3, (3 - np.log2(7 / 8)) / 2])


def test_the_popularity_share_counts_items_of_the_most_liked_tenth() -> None:
    known = shelf([*range(20)])  # items 18 and 19
    found = known.beyond_accuracy(np.array([[19, 18, 17, 0], [1, 2, 3, 18]]))["popularity@10"]
    assert found == pytest.approx([0.5, 0.25])


def test_what_nobody_liked_is_not_popular() -> None:
    assert shelf([0] * 20).beyond_accuracy(np.array([[0, 1]]))["popularity@10"] == 0


def test_an_empty_slate_has_neither_novelty_nor_popularity() -> None:
    found = shelf([1, 2]).beyond_accuracy(np.array([[ABSENT, ABSENT]]))
    assert all(np.isnan(values).all() for values in found.values())


def test_diversity_is_1_minus_the_mean_cosine_of_all_pairs_that_have_content() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(30, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[[3, 4, 5]] = 0
    slates = np.array([rng.permutation(30)[:10] for _ in range(20)])
    slates[:, 8:] = ABSENT
    found = diversity(slates, rows.astype(np.float32))
    for mine, shown in zip(found, slates, strict=True):
        there = [item for item in shown if item >= 0 and rows[item].any()]
        cosines = [rows[a] @ rows[b] for a, b in itertools.combinations(there, 2)]
        assert mine == pytest.approx(1 - np.mean(cosines), abs=1e-5)


def test_diversity_is_unknown_with_fewer_than_two_items_with_content() -> None:
    rows = np.array([[1, 0], [0, 0]], dtype=np.float32)
    assert np.isnan(diversity(np.array([[0, 1], [ABSENT, ABSENT]]), rows)).all()


def test_the_interval_is_that_of_the_normal_law_where_queries_are_many() -> None:
    values = np.random.default_rng(3).normal(2.0, 1.0, size=2_000)
    value, low, high = estimates({"x": values}, 2_000, seed=0)["x"]
    assert value == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(2_000)
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.1 * half)


def test_the_interval_of_a_difference_is_paired() -> None:
    rng = np.random.default_rng(4)
    hard = rng.normal(size=500)  # how hard a query is moves both models alike
    ours, theirs = hard + 0.1, hard + rng.normal(scale=0.01, size=500)
    found = estimates({"ours": ours, "theirs": theirs, "gain": ours - theirs}, 500, seed=0)
    assert found["ours"].low < found["theirs"].high
    assert found["gain"].low > 0.09


def test_unknown_values_do_not_count_and_a_metric_nobody_has_is_left_out() -> None:
    vectors = {"x": np.array([1, NAN, 3]), "nothing": np.full(3, NAN)}
    found = estimates(vectors, 100, seed=0)
    assert set(found) == {"x"}
    assert found["x"] == (2, 1, 3)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = {"x": np.random.default_rng(5).normal(size=50)}
    assert estimates(values, 100, seed=7) == estimates(values, 100, seed=7)
    assert estimates(values, 100, seed=7) != estimates(values, 100, seed=8)
