"""Which questions the weights of a segment are learned from."""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from recsys.config import EvaluationSettings, Settings
from recsys.evaluation.blending import segments
from recsys.evaluation.exam import Exam, Question
from recsys.evaluation.past import Past
from recsys.ranking.candidates import History, Query
from recsys.ranking.reasons import deeds

AT = datetime(2026, 6, 1, tzinfo=UTC)
MINUTE = 60_000_000


def asked(likes: int, minutes: int) -> Question:
    """Somebody who likes so many items, the newest event so many minutes ago."""
    newest = int(AT.timestamp()) * 1_000_000 - minutes * MINUTE
    history = History(
        np.arange(likes), np.ones(likes, np.float32), deeds(["like"] * likes), None, newest
    )
    return Question(Query(AT, 20, history), np.array([9]), actor=0)


@pytest.mark.parametrize(
    ("going_on", "coming_back", "expected"), [(6, 5, 5), (6, 4, 0), (0, 8, 0), (4, 8, 0), (8, 0, 0)]
)
def test_who_comes_back_is_learned_of_apart_where_there_are_enough_and_others_too(
    make_items: Callable, make_log: Callable, going_on: int, coming_back: int, expected: int
) -> None:
    settings = Settings(evaluation=EvaluationSettings(min_queries=5))
    main = [asked(2, 60)] * 9  # short histories are a segment of their own
    main += [asked(4, 1)] * going_on + [asked(4, 60)] * coming_back
    items = make_items(10)
    exam = Exam(make_log(items, [("u", 0, 0)]), main, [], [], [])
    found = segments(Past(items, {}, {}, settings), exam)
    assert len(found["returning"]) == expected
    assert len(found["history"]) == 9 + going_on + coming_back
