"""New items, first events and first visits have a bar of their own at the gate."""

import pytest

from recsys.config import Settings
from recsys.evaluation.result import Estimate, Evaluation, Measured, Slice
from recsys.gate import floors

SLICES = ("cold items among themselves", "first event", "first visits")


def evaluation(
    low: float, high: float, popular: float | Estimate = 0.0, n: int = 100
) -> Evaluation:
    middle = (low + high) / 2

    def measured(estimate: Estimate) -> Measured:
        return Measured(slices={s: Slice(n=n, metrics={"ndcg@10": estimate}) for s in SLICES})

    found = {
        "blend": measured(Estimate(middle, low, high)),
        "popularity": measured(
            popular if isinstance(popular, Estimate) else Estimate(popular, popular, popular)
        ),
    }
    return Evaluation(protocol="", settings={}, data_digest="", measured=True, models=found)


def test_a_build_as_good_as_the_last_one_passes() -> None:
    assert floors(evaluation(0.1, 0.2), evaluation(0.1, 0.2), Settings()) is None
    assert floors(evaluation(0.1, 0.2), None, Settings()) is None


def test_a_build_surely_worse_than_popularity_is_refused_and_says_for_whom() -> None:
    refusal = floors(evaluation(0.1, 0.2, popular=0.3), None, Settings())
    assert refusal is not None
    assert all(word in refusal for word in ("new items", "popularity", "0.1500", "0.3000"))
    assert "snapshots.tolerance = 0.05" in refusal


def test_a_build_surely_worse_than_the_current_snapshot_is_refused() -> None:
    refusal = floors(evaluation(0.1, 0.2), evaluation(0.4, 0.5), Settings())
    assert refusal is not None
    assert "the current snapshot 0.4500" in refusal


@pytest.mark.parametrize("high", [0.286, 0.5])
def test_what_may_be_chance_or_is_tolerated_is_not_refused(high: float) -> None:
    assert floors(evaluation(0.1, high, popular=0.3), None, Settings()) is None


def test_popularity_answers_the_same_questions_so_its_interval_is_no_excuse() -> None:
    rival = Estimate(0.3, 0.1, 0.5)
    assert floors(evaluation(0.1, 0.2, popular=rival), None, Settings()) is not None


def test_no_hit_among_few_questions_is_no_proof_beside_few_hits() -> None:
    assert floors(evaluation(0.0, 0.0), evaluation(0.0, 0.08), Settings()) is None
    assert floors(evaluation(0.0, 0.0, popular=0.03), None, Settings()) is None


def test_no_hit_is_refused_where_there_ought_to_be_many() -> None:
    assert floors(evaluation(0.0, 0.0), evaluation(0.04, 0.08), Settings()) is not None
    assert floors(evaluation(0.0, 0.0, popular=0.04), None, Settings()) is not None


def test_too_few_questions_decide_nothing() -> None:
    few = evaluation(0.1, 0.2, popular=0.9, n=19)
    assert floors(few, evaluation(0.8, 0.9), Settings()) is None
    assert floors(evaluation(0.1, 0.2), evaluation(0.8, 0.9, n=19), Settings()) is None


def test_an_evaluation_from_before_there_were_such_slices_decides_nothing() -> None:
    old = Evaluation(protocol="", settings={}, data_digest="")
    assert floors(evaluation(0.1, 0.2), old, Settings()) is None
