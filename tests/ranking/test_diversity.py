from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.compiling import fixed
from recsys.facts import Groups
from recsys.identity import Floats, Ordinals
from recsys.index.space import coded
from recsys.ranking.block import Lists, best_of, ends
from recsys.ranking.candidates import Quota
from recsys.ranking.diversity import choose
from recsys.ranking.knowledge import NO_CONTENT, Near


def in_codes(vectors: Floats) -> Near:
    codes, scale = coded(vectors)
    codes.setflags(write=False)
    return NO_CONTENT._replace(codes=codes, scale=scale)


def diversify(
    scores: Floats, vectors: Floats, limit: int, strength: float
) -> tuple[Ordinals, Floats]:
    every, near = Lists.of([np.arange(len(scores))]), in_codes(vectors)
    picks, parts, _ = choose(every, scores[None], limit, strength, near, None, Quota(), None)
    return picks.items, parts[1] if strength else np.zeros(len(picks.items))


def test_a_twin_gives_way_to_something_else() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    scores = np.array([1.0, 0.9, 0.5], dtype=np.float32)
    order, penalties = diversify(scores, vectors, 2, 0.9)
    assert order.tolist() == [0, 2]
    assert penalties.tolist() == [0, 0]


def test_without_strength_the_order_stays() -> None:
    vectors = np.ones((4, 1), dtype=np.float32)
    order, penalties = diversify(np.array([4, 3, 2, 1], dtype=np.float32), vectors, 4, 0.0)
    assert order.tolist() == [0, 1, 2, 3]
    assert not penalties.any()


@given(st.integers(0, 2**31), st.integers(1, 30), st.floats(0, 1))
def test_every_pick_is_the_best_by_brute_force_and_values_never_rise(
    seed: int, n: int, strength: float
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes, step = coded(vectors)
    seen = codes / step
    scores = np.sort(rng.normal(size=n).astype(np.float32))[::-1].copy()
    order, penalties = diversify(scores, vectors, 10, strength)
    scale = strength * float(scores[0] - scores[-1])
    chosen: list[int] = []
    for pick, penalty in zip(order, penalties, strict=True):
        values = {
            m: scores[m] - scale * max([0.0, *(float(seen[m] @ seen[c]) for c in chosen)])
            for m in range(n)
            if m not in chosen
        }
        assert scores[pick] + penalty == pytest.approx(values[int(pick)], abs=1e-4)
        assert values[int(pick)] == pytest.approx(max(values.values()), abs=1e-4)
        chosen.append(int(pick))
    assert len(set(chosen)) == min(10, n)
    assert (np.diff(scores[order] + penalties) <= 1e-5).all()


def test_a_score_that_is_not_finite_never_outranks_one_that_is() -> None:
    scores = np.array([np.nan, -5, np.inf, 2, -np.inf, 2], dtype=np.float32)
    assert best_of(scores, 10).tolist() == [3, 5, 1]
    assert best_of(scores, 2).tolist() == [3, 5]
    assert best_of(np.array([], dtype=np.float32), 3).tolist() == []


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, np.nan, -np.inf]), max_size=40), st.integers(1, 50))
def test_ties_go_to_the_lower_position_also_at_the_cut(values: list[float], limit: int) -> None:
    scores = np.array(values, dtype=np.float32)
    finite = [n for n in range(len(values)) if np.isfinite(scores[n])]
    assert best_of(scores, limit).tolist() == sorted(finite, key=lambda n: -scores[n])[:limit]


@settings(deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 2_000),
    st.sampled_from([1, 10, 100, 3_000]),
    st.sampled_from(["even", "steep", "tied", "alike but one", "below zero", "around zero"]),
)
def test_the_best_are_found_however_values_lie(seed: int, count: int, limit: int, how: str) -> None:
    rng = np.random.default_rng(seed)
    even = rng.random(count)
    values = {
        "even": even,
        "steep": np.exp(-80 * even),
        "tied": np.round(even * 3),
        "alike but one": np.where(np.arange(count) == count // 2, 1e30, 1 + even / 1e6),
        "below zero": -even,
        "around zero": even - 0.5,
    }[how].astype(np.float32)
    assert best_of(values, limit).tolist() == np.argsort(-values, kind="stable")[:limit].tolist()


@settings(deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([Quota(brand=1), Quota(category=2), Quota(brand=2, category=3)]),
)
def test_a_quota_is_kept_and_costs_nothing_else(seed: int, quota: Quota) -> None:
    """The slate is that of a walk down the order which passes over what is full."""
    rng = np.random.default_rng(seed)
    n = 40
    brands = rng.integers(-1, 4, n)
    categories = [sorted(set(rng.integers(0, 5, rng.integers(0, 3)).tolist())) for _ in range(n)]
    own = [
        ([int(brand)] if brand >= 0 else []) + [4 + c for c in mine]
        for brand, mine in zip(brands, categories, strict=True)
    ]
    groups = Groups(
        fixed(ends([len(codes) for codes in own])),
        fixed(np.array([code for codes in own for code in codes], dtype=np.int32)),
        4,
        9,
    )
    items = rng.permutation(n)
    scores = np.sort(rng.normal(size=n).astype(np.float32))[::-1].copy()
    place = np.argsort(items)  # of each item: the best first is the order of `items`
    every = Lists.of([np.arange(n)])
    picks, _, _ = choose(every, scores[place][None], 8, 0.0, NO_CONTENT, groups, quota, None)
    taken: Counter[int] = Counter()
    expected = []
    most = {code: quota.brand if code < 4 else quota.category for code in range(9)}
    for place, item in enumerate(items):
        if len(expected) < 8 and all(
            most[code] is None or taken[code] < most[code] for code in own[item]
        ):
            expected.append(place)
            taken.update(own[item])
    assert picks.items.tolist() == [items[place] for place in expected]
