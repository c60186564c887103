"""How much people come back to things."""

import numpy as np
import pytest

from recsys.config import EventSettings
from recsys.preference.returns import fit_returns
from recsys.preference.transitions import sequences

NAN = float("nan")


def rates(log, n=3):
    return fit_returns(sequences(log, n, EventSettings(), 200))


def test_a_return_is_a_like_on_another_day_or_after_something_else(make_log):
    milk = [(str(u), 0, "purchase", NAN, day) for u in range(50) for day in (1, 8, 15)]
    film = [
        (str(u), 1, kind, NAN, day)
        for u in range(50)
        for kind, day in (("view", 1.5), ("purchase", 1.6))
    ]
    found = rates(make_log(milk + film))
    likes, returns = np.array([150, 50, 0]), np.array([100, 0, 0])
    general = returns.sum() / likes.sum()
    assert found == pytest.approx((returns + 20 * general) / (likes + 20))
    assert found[0] > found[2] > found[1], "of an item nobody knows, what holds in general"


def test_where_nobody_ever_returns_nothing_is_wished_for_again(make_log):
    assert not rates(make_log([("a", 0, "like", NAN, 1), ("a", 1, "like", NAN, 2)])).any()
    assert not rates(make_log([])).any()
