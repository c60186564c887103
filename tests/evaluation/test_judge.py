from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from recsys.catalogue.event_log import LogBuilder
from recsys.config import Settings
from recsys.evaluation.exam import Exam, Question
from recsys.evaluation.judge import differences, groups, judge
from recsys.evaluation.metrics import Shelf
from recsys.identity import IdMap
from recsys.ranking.candidates import NO_HISTORY, History, Query
from recsys.ranking.reasons import deeds

AT = datetime(2026, 6, 1, tzinfo=UTC)


def asked(likes: int, *targets: int, dislikes: int = 0) -> Question:
    weights = np.array([1] * likes + [-1] * dislikes, dtype=np.float32)
    known = History(np.arange(len(weights)), weights, deeds(["like"] * len(weights)))
    return Question(Query(AT, 20, known), np.array(targets), actor=0)


def exam(*main: Question, visits: int = 0) -> Exam:
    arrived = Question(Query(AT, 20, NO_HISTORY), np.array([0]), actor=0)
    nothing = LogBuilder(IdMap([])).build()
    return Exam(nothing, list(main), [], [], [arrived] * visits)


def test_histories_are_told_apart_by_the_number_of_likes() -> None:
    found = groups(
        exam(*(asked(n, 0) for n in (0, 1, 2, 4, 5, 19, 20, 99)), asked(4, 0, dislikes=9)),
        np.ones(1, dtype=bool),
    )
    assert found["all"].rows.tolist() == list(range(9))
    assert found["history 1"].rows.tolist() == [1]
    assert found["history 2-4"].rows.tolist() == [2, 3, 8]
    assert found["history 5-19"].rows.tolist() == [4, 5]
    assert found["history 20+"].rows.tolist() == [6, 7]


def test_cold_items_are_the_targets_without_a_past_and_nothing_else() -> None:
    known = np.array([True, False, True, False])
    found = groups(exam(asked(1, 0, 1), asked(1, 2), asked(1, 1, 3), visits=1), known)["cold items"]
    assert found.rows.tolist() == [0, 2]
    assert [items.tolist() for items in found.targets] == [[1], [1, 3]]


def test_first_visits_are_apart_from_everybody() -> None:
    found = groups(exam(asked(1, 0), visits=2), np.ones(1, dtype=bool))
    assert found["all"].rows.tolist() == [0]
    assert found["first visits"].rows.tolist() == [1, 2]


def slates(*first: int) -> np.ndarray:
    """One slate per query, of which only the first place holds an item."""
    rows = np.full((len(first), 20), -1)
    rows[:, 0] = first
    return rows


def test_each_slice_has_its_own_figures_and_an_empty_one_has_none(
    make_items: Callable, small: Settings
) -> None:
    answers = {"blend": slates(5, 5, 0), "popularity": slates(5, 4, 1)}
    shelf = Shelf(make_items(10).available, np.zeros(10, dtype=np.float32), None)
    asked_all = exam(asked(1, 5), asked(30, 5), visits=1)
    found = judge(asked_all, answers, shelf, np.ones(10, dtype=bool), small.evaluation)
    values = {
        (model, name): part.metrics["ndcg@10"].value
        for model, measured in found.items()
        for name, part in measured.slices.items()
        if part.n
    }
    assert values == {
        ("blend", "all"): 1,
        ("blend", "history 1"): 1,
        ("blend", "history 20+"): 1,
        ("blend", "first visits"): 1,
        ("popularity", "all"): 0.5,
        ("popularity", "history 1"): 1,
        ("popularity", "history 20+"): 0,
        ("popularity", "first visits"): 0,
    }
    assert found["blend"].slices["cold items"].metrics == {}
    assert found["blend"].metrics["coverage@10"].value == 0.1


def test_the_difference_is_of_the_main_queries_alone(small: Settings) -> None:
    answers = {"blend": slates(5, 5, 9), "kNN": slates(5, 4, 0), "worse": slates(4, 4, 0)}
    found = differences(exam(asked(1, 5), asked(1, 5), visits=1), answers, small.evaluation)
    assert {name: estimate.value for name, estimate in found.items()} == {"kNN": 0.5, "worse": 1}
    assert found["worse"].low == found["worse"].high == 1
    assert found["kNN"].low == 0
