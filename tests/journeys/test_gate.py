"""A build is compared with the current one by what both were asked: chance is no reason to refuse it."""

import pytest
from worlds import BUILT_AT

from recsys.config import SnapshotSettings
from recsys.evaluation.result import Estimate, Evaluation, Measured, Slice
from recsys.gate import gate
from recsys.snapshot import FORMAT, Manifest

SETTINGS = SnapshotSettings()


def evaluation(value: float, half: float, popular: float = 0.01) -> Evaluation:
    """half: of its interval."""
    found = {
        "blend": Estimate(value, value - half, value + half),
        "popularity": Estimate(popular, popular - half, popular + half),
    }
    models = {
        name: Measured(slices={"all": Slice(n=500, metrics={"ndcg@10": estimate})})
        for name, estimate in found.items()
    }
    return Evaluation(protocol="", settings={}, data_digest="", measured=True, models=models)


def manifest(available: int = 100) -> Manifest:
    return Manifest(
        id="20260601T000000-000000",
        format=FORMAT,
        built_at=BUILT_AT,
        events_until=None,
        counts={"available": available},
        encoders={},
        indexes={},
        models={},
        inputs_digest="",
        libraries={},
        metrics={},
        files={},
    )


def refusal(new: Evaluation, current: Evaluation | None) -> str | None:
    return gate(manifest(), manifest(), new, current, SETTINGS)


@pytest.mark.parametrize("drop", [0.0, 0.02, 0.045])
def test_few_queries_may_differ_by_chance(drop: float) -> None:
    """Of 500 queries: .154 on average, and nights between .116 and .193 of one and the same build."""
    assert refusal(evaluation(0.154 - drop, 0.03), evaluation(0.154, 0.03)) is None


def test_a_fall_that_is_no_chance_is_refused_and_told_with_its_intervals() -> None:
    told = refusal(evaluation(0.08, 0.03), evaluation(0.154, 0.03))
    assert told is not None
    assert "0.0800" in told and "0.1840" in told and "the current snapshot" in told


def test_many_queries_leave_little_to_chance() -> None:
    current = evaluation(0.154, 0.0045)
    assert refusal(evaluation(0.145, 0.0045), current) is None
    assert refusal(evaluation(0.135, 0.0045), current) is not None


def test_popularity_answered_the_same_queries_and_keeps_its_bar() -> None:
    assert "popularity" in (refusal(evaluation(0.1, 0.03, popular=0.12), None) or "")
    assert refusal(evaluation(0.1, 0.03, popular=0.1), None) is None


def test_what_is_no_number_is_refused() -> None:
    assert refusal(evaluation(float("nan"), 0.03), evaluation(0.1, 0.03)) is not None


def test_a_catalogue_that_shrank_is_refused() -> None:
    new = evaluation(0.1, 0.03)
    assert "shrank" in (gate(manifest(49), manifest(), new, None, SETTINGS) or "")
    assert "nothing to show" in (gate(manifest(0), manifest(), new, None, SETTINGS) or "")
