import numpy as np
import pytest

from recsys.ranking.blend import (
    Example,
    Stack,
    blend,
    discount,
    fit_room,
    fit_weights,
    likeliest,
    standardise,
)
from recsys.ranking.candidates import Candidates

NAN = np.nan


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_standard_scores_have_mean_0_and_spread_1_over_what_is_known() -> None:
    scores = standardise(floats(1, 2, 3, NAN))
    assert scores == pytest.approx([-1.224745, 0, 1.224745, 0])


@pytest.mark.parametrize("scores", [floats(7, 7, 7), floats(NAN, NAN), floats(1e8, 1e8), floats()])
def test_a_source_that_cannot_tell_items_apart_says_nothing(scores: np.ndarray) -> None:
    assert not standardise(scores).any()


def test_newness_tells_what_came_seconds_later_from_a_hundred_others() -> None:
    days = np.full(100, 40 / 86_400)
    days[17] = 35 / 86_400  # five seconds younger
    assert standardise(floats(*14 / (14 + days))).argmax() == 17


def test_parts_are_finite_and_add_up_whatever_a_source_does_not_know() -> None:
    candidates = Candidates(
        np.arange(3), {"a": floats(1, NAN, 3), "b": floats(NAN, NAN, NAN), "c": floats(5, 1, 1)}
    )
    parts = blend(candidates, {"a": 2.0, "b": 1.0, "c": -1.0, "not there": 9.0})
    assert set(parts) == {"a", "b", "c"}
    assert np.isfinite(sum(parts.values())).all()
    assert parts["a"] == pytest.approx([-2, 0, 2])


def test_a_source_without_weight_has_no_part() -> None:
    assert blend(Candidates(np.arange(2), {"a": floats(1, 2)}), {"a": 0.0}) == {}


def test_an_item_passes_from_the_new_items_weights_to_the_usual_ones_as_it_is_liked() -> None:
    candidates = Candidates(
        np.arange(3), {"a": floats(1, 2, 3), "b": floats(3, 2, 1)}, own=floats(0, 0.5, 1)
    )
    parts = blend(candidates, {"a": 1.0}, {"a": 3.0, "b": 2.0, "unproven": -1.0})
    z = 1.224745
    assert parts["a"] == pytest.approx([-3 * z, 0, z], abs=1e-5)
    assert parts["b"] == pytest.approx([2 * z, 0, 0], abs=1e-5)
    assert parts["unproven"] == pytest.approx([-1, -0.5, 0])


def test_without_weights_of_their_own_new_items_are_weighed_like_all() -> None:
    scores = {"a": floats(1, 2, 3), "b": floats(3, 1, 1)}
    weights = {"a": 0.3, "b": 0.7}
    some_new = blend(Candidates(np.arange(3), scores, own=floats(0, 0.3, 1)), weights)
    all_known = blend(Candidates(np.arange(3), scores), weights)
    assert {n: p.tolist() for n, p in some_new.items()} == {
        n: p.tolist() for n, p in all_known.items()
    }


def race(rng: np.random.Generator, liked: str) -> list[Example]:
    """Forty known items and ten new ones; `a` tells the known apart, `b` the new, and one kind alone is liked."""
    made = []
    own = np.repeat(floats(1, 0), [40, 10])
    for _ in range(60):
        scores = {name: rng.normal(size=50).astype(np.float32) for name in ("a", "b")}
        known, new = np.argsort(-scores["a"][:40])[:2], 40 + np.argsort(-scores["b"][40:])[:2]
        chosen = np.isin(np.arange(50), known if liked == "known" else new)
        made.append(Example(Candidates(np.arange(50), scores, own), chosen, 2))
    return made


def test_new_items_get_as_much_room_as_pays() -> None:
    best = {}
    for liked in ("known", "new"):
        some = race(np.random.default_rng(2), liked)
        for_new = fit_room(some, [{"a": 1.0}] * len(some), {"b": 1.0})
        parts = blend(some[0].candidates, {"a": 1.0}, for_new)
        best[liked] = np.argsort(-np.sum(list(parts.values()), axis=0))[:2]
    assert (best["known"] < 40).all()
    assert (best["new"] >= 40).all()


def examples(rng: np.random.Generator, queries: int = 60) -> list[Example]:
    """A world where `truth` decides, `noise` says nothing and `opposite` points the wrong way."""
    made = []
    for _ in range(queries):
        truth = rng.normal(size=50).astype(np.float32)
        chosen = np.zeros(50, dtype=bool)
        chosen[np.argsort(-truth)[:3]] = True
        scores = {
            "truth": truth + rng.normal(scale=0.3, size=50).astype(np.float32),
            "noise": rng.normal(size=50).astype(np.float32),
            "opposite": -truth,
        }
        made.append(Example(Candidates(np.arange(50), scores), chosen, 3))
    return made


def test_fitting_finds_the_source_that_tells_the_truth() -> None:
    start = {"truth": 0.5, "noise": 1.0, "opposite": 0.5}
    weights = fit_weights(examples(np.random.default_rng(0)), start)
    assert weights["truth"] > 5 * abs(weights["noise"])
    assert weights["opposite"] == 0


def choices(rng: np.random.Generator, weights: dict[str, float], queries: int) -> list[Example]:
    """One of thirty items is liked, as a multinomial logit with these weights has it."""
    made = []
    for _ in range(queries):
        z = {name: standardise(rng.normal(size=30).astype(np.float32)) for name in weights}
        utility = sum(weight * z[name] for name, weight in weights.items())
        liked = int(np.argmax(utility + rng.gumbel(size=30)))
        made.append(Example(Candidates(np.arange(30), z), np.arange(30) == liked, 1))
    return made


def test_the_likeliest_weights_are_those_that_the_choices_were_made_with() -> None:
    truth = {"a": 1.5, "b": 0.5, "c": 0.0}
    found = likeliest(Stack.of(choices(np.random.default_rng(3), truth, 3_000)), {})
    assert found == pytest.approx(truth, abs=0.1)
    assert min(found.values()) >= 0


def test_few_choices_leave_the_likeliest_weights_near_the_start() -> None:
    one = Stack.of(choices(np.random.default_rng(3), {"a": 1.5, "b": 0.5}, 1))
    assert likeliest(one, {"a": 0.7}) == pytest.approx({"a": 0.7, "b": 0.0}, abs=0.1)


def test_a_start_on_a_lower_summit_does_not_hold_the_fit_back() -> None:
    rng = np.random.default_rng(4)
    some = choices(rng, {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}, 400)
    reached = Stack.of(some).ndcg(fit_weights(some, {"a": 1.0})).mean()
    best = Stack.of(some).ndcg({"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}).mean()
    assert reached > 0.98 * best


def one_query(target: int, lifted: int | None) -> Example:
    """`a` all but ties the first three of twelve items; `b` lifts one of them."""
    a = np.array([1, 0.999, 0.998, *range(-1, -10, -1)], dtype=np.float32)
    b = np.zeros(12, dtype=np.float32)
    if lifted is not None:
        b[lifted] = 1
    return Example(Candidates(np.arange(12), {"a": a, "b": b}), np.arange(12) == target, 1)


def test_what_one_query_gains_and_another_loses_is_not_learned() -> None:
    settled = [one_query(0, None)] * 28
    gains, loses = one_query(2, lifted=2), one_query(0, lifted=1)
    start = {"a": 1.0, "b": 0.0}
    assert fit_weights([*settled, gains, loses], start) == start
    assert fit_weights([*settled, *[gains] * 10], start)["b"] > 0


def agreed(queries: int = 10) -> list[Example]:
    """Three sources that all put what is liked first: no weights are better than others."""
    scores = floats(*range(12, 0, -1))
    candidates = Candidates(np.arange(12), {"a": scores, "b": scores, "c": scores})
    return [Example(candidates, np.arange(12) == 0, 1)] * queries


def test_what_different_starts_lead_to_counts_alike() -> None:
    one, both = fit_weights(agreed(), {"a": 3.0}), fit_weights(agreed(), {"a": 3.0}, {"b": 9.0})
    assert sum(one.values()) == pytest.approx(1)
    assert one["a"] > 0.9
    assert both == pytest.approx({"a": 2 / 3, "b": 1 / 3, "c": 0}, abs=0.05)


def test_a_source_that_decides_next_to_nothing_is_switched_off() -> None:
    tiny = fit_weights([one_query(0, None)] * 10, {"a": 1.0, "b": 0.01})
    assert tiny == {"a": 1.0, "b": 0.0}


def test_fitting_is_deterministic_and_needs_examples() -> None:
    some = examples(np.random.default_rng(1), 20)
    assert fit_weights(some, {"truth": 1.0}) == fit_weights(some, {"truth": 1.0})
    assert fit_weights([], {"truth": 1.0}) == {"truth": 1.0}


def test_targets_that_no_source_found_count_against_a_query() -> None:
    scores = {"a": floats(3, 2, 1)}
    chosen = np.array([True, False, False])
    found_all = Example(Candidates(np.arange(3), scores), chosen, 1)
    found_one_of_two = Example(Candidates(np.arange(3), scores), chosen, 2)
    assert Stack.of([found_all]).ndcg({"a": 1.0}).tolist() == pytest.approx([1])
    expected = 1 / (1 + 1 / np.log2(3))
    assert Stack.of([found_one_of_two]).ndcg({"a": 1.0}).tolist() == pytest.approx([expected])


def test_the_discount_is_one_over_log2_of_the_rank_plus_one() -> None:
    assert discount(3) == pytest.approx([1, 0.63092975, 0.5])
