"""Directed co-occurrence against its formula, person by person and pair by pair."""

import numpy as np
import pytest

from recsys.config import EventSettings, PreferenceSettings
from recsys.preference import transitions
from recsys.preference.transitions import fit_transitions, sequences

N = 8


def settings(**own):
    plain = {
        "transitions_user_exponent": 0.0,
        "transitions_from_exponent": 0.0,
        "transitions_to_exponent": 0.0,
        "transitions_decay": 0.0,
        "transitions_back": 0.0,
    }
    return PreferenceSettings(**plain | own)


def fitted(log, longest=200, **own):
    return fit_transitions(sequences(log, N, EventSettings(), longest), settings(**own))


def paths(make_log, *people):
    """One like a day, in this order."""
    return make_log(
        [
            (str(person), item, "like", float("nan"), day)
            for person, items in enumerate(people)
            for day, item in enumerate(items)
        ]
    )


def expected(people, user, come_from, go_to, decay, back):
    S = np.zeros((N, N))
    for items in people:
        for s, i in enumerate(items):
            for t in range(s + 1, len(items)):
                S[i, items[t]] += len(items) ** -user * np.exp(-decay * (t - s - 1))
    likes = np.bincount([i for items in people for i in items], minlength=N).astype(float)
    scale = [np.where(likes > 0, np.maximum(likes, 1) ** -e, 0) for e in (come_from, go_to)]
    W = scale[0][:, None] * (S + back * S.T) * scale[1]
    np.fill_diagonal(W, 0)
    return W


@pytest.mark.parametrize("at_once", [1, 5_000_000])
def test_it_is_the_formula(make_log, at_once, monkeypatch):
    monkeypatch.setattr(transitions, "_AT_ONCE", at_once)
    people = ([0, 1, 2, 3, 1], [2, 1, 4], [5], [4, 3, 2, 1, 0, 6])
    got = fitted(
        paths(make_log, *people),
        transitions_user_exponent=0.3,
        transitions_from_exponent=0.4,
        transitions_to_exponent=0.2,
        transitions_decay=0.5,
        transitions_back=0.25,
    )
    assert got.toarray() == pytest.approx(expected(people, 0.3, 0.4, 0.2, 0.5, 0.25), abs=1e-6)


def test_sharpness_is_a_power_of_every_weight(make_log):
    log = paths(make_log, [0, 1], [0, 1], [0, 2])
    assert fitted(log, transitions_sharpness=2.0).toarray()[0, :3].tolist() == [0, 4, 1]


def test_what_comes_after_is_led_to_and_not_what_came_before(make_log):
    W = fitted(paths(make_log, [0, 1], [0, 1], [1, 2])).toarray()
    assert W[0, 1] == 2
    assert W[1, 0] == 0


def test_likes_of_one_moment_keep_the_order_of_arrival(make_log):
    rows = [("a", item, "like", float("nan"), 7) for item in (3, 1)]
    rows += [("a", 2, "like", float("nan"), 9)]
    W = fitted(make_log(rows)).toarray()
    assert W[3, 1] == 1
    assert W[1, 3] == 0


def test_an_item_liked_twice_in_a_row_does_not_lengthen_the_way(make_log):
    rows = [("a", 0, "view", 1.0), ("a", 0, "purchase", 1.1), ("a", 1, "purchase", 2.0)]
    log = make_log([(who, item, kind, float("nan"), day) for who, item, kind, day in rows])
    twice = fitted(log, transitions_decay=1.0).toarray() / 0.2  # the view is what leads there
    once = fitted(paths(make_log, [0, 1]), transitions_decay=1.0).toarray()
    assert twice == pytest.approx(once)


def test_only_the_newest_likes_of_a_long_history_count(make_log):
    W = fitted(paths(make_log, [0, 1, 2, 3]), longest=2).toarray()
    assert np.argwhere(W).tolist() == [[2, 3]]


def test_pairs_farther_apart_than_the_span_do_not_count(make_log):
    W = fitted(paths(make_log, [0, 1, 2, 3]), transitions_span=2).toarray()
    assert W[0, 2] == 1
    assert W[0, 3] == 0


def test_without_an_order_there_are_no_transitions(make_log):
    same = [(str(u), i, "like", float("nan"), 7) for u in range(3) for i in range(4)]
    assert fitted(make_log(same)) is None
    assert fitted(make_log([])) is None
    assert fitted(paths(make_log, [0, 1]), transitions_span=0) is None
