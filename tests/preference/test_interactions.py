"""Events become one signed strength per person and item."""

import numpy as np
import pytest

from recsys.config import EventSettings
from recsys.preference.interactions import event_strength, interactions

DAY = 86_400_000_000
SETTINGS = EventSettings()
NONE = float("nan")


def strength(name, value):
    codes, values = np.array([0], np.int16), np.array([value], np.float32)
    return float(event_strength(codes, values, (name,), SETTINGS)[0])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("view", NONE, 0.2),
        ("purchase", 3.0, 1.0),  # three pieces bought: the value is not a rating
        ("dislike", NONE, -1.0),
        ("rating", 5.0, 1.0),
        ("rating", 4.0, 0.5),
        ("rating", 3.0, 0.0),
        ("rating", 1.0, -1.0),
        ("rating", -40.0, -1.0),
        ("rating", NONE, 0.0),
        ("no longer known", NONE, 0.0),
    ],
)
def test_an_event_counts_as_its_type_and_rating_say(name, value, expected):
    assert strength(name, value) == pytest.approx(expected)


def found(make_log, events, longest=200):
    return interactions(make_log(events), 5, SETTINGS, longest)


def test_events_on_one_item_add_up_to_at_most_a_full_like(make_log):
    got = found(make_log, [("a", 1, "view", NONE, 0), ("a", 1, "click", NONE, 1)])
    assert got.matrix.toarray()[0] == pytest.approx([0, 0.6, 0, 0, 0])
    got = found(make_log, [("a", 1, "purchase", NONE, n) for n in range(9)])
    assert got.matrix.toarray()[0, 1] == 1


def test_a_like_that_is_taken_back_leaves_neither_like_nor_dislike(make_log):
    got = found(make_log, [("a", 1, "like", NONE, 0), ("a", 1, "dislike", NONE, 1)])
    assert got.matrix.nnz == 0


def test_dislikes_are_no_likes(make_log):
    events = [("a", 0, "like", NONE, 0), ("a", 1, "view", NONE, 1), ("a", 1, "dislike", NONE, 2)]
    got = found(make_log, events)
    assert got.matrix.toarray().tolist() == [[1, 0, 0, 0, 0]]


def test_a_long_history_keeps_its_newest_items(make_log):
    events = [("a", item, "like", NONE, day) for item, day in [(3, 9), (0, 1), (4, 5), (2, 7)]]
    events += [("b", 0, "like", NONE, 0)]
    got = found(make_log, events, longest=2)
    assert got.matrix.toarray().tolist() == [[0, 0, 1, 1, 0], [1, 0, 0, 0, 0]]


def test_of_events_at_one_moment_the_later_arrival_is_the_newer(make_log):
    events = [("a", item, "like", NONE, 1) for item in (4, 1, 3)]
    assert found(make_log, events, longest=1).matrix.indices.tolist() == [3]


def test_many_dislikes_do_not_push_the_likes_out_of_a_long_history(make_log):
    events = [("a", 0, "like", NONE, 0)]
    events += [("a", item, "dislike", NONE, item) for item in (1, 2, 3)]
    got = found(make_log, events, longest=2)
    assert got.matrix.indices.tolist() == [0]


def test_nobody_and_nothing_make_an_empty_matrix(make_log):
    got = found(make_log, [])
    assert got.matrix.shape == (0, 5)
    assert got.support.tolist() == [0] * 5
