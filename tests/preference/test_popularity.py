"""What everybody likes, and what is gaining."""

import numpy as np
import pytest

from recsys.config import Settings
from recsys.preference.popularity import fit_popularity, trend

NONE = float("nan")
SETTINGS = Settings()


def likes(item, count, day, start=0):
    return [(f"p{start + n}", item, "like", NONE, day) for n in range(count)]


def test_a_like_counts_less_the_older_it_is_but_never_nothing(make_log):
    events = likes(0, 1, 0) + likes(1, 1, 570) + likes(2, 1, 600)
    got = fit_popularity(make_log(events), 4, SETTINGS).popular
    assert got[:3] == pytest.approx([1 / 21**2, 1 / 4, 1])
    assert np.isnan(got[3])


def test_one_person_counts_once_per_item(make_log):
    busy = [("bot", 0, "like", NONE, 1 + n / 100) for n in range(50)]
    got = fit_popularity(make_log(busy + likes(1, 2, 1)), 2, SETTINGS)
    assert got.popular[1] > got.popular[0]
    assert got.trending[1] > got.trending[0]


def test_dislikes_make_nothing_popular(make_log):
    got = fit_popularity(make_log([("a", 0, "dislike", NONE, 1)]), 1, SETTINGS)
    assert np.isnan(got.popular).all()
    assert np.isnan(got.trending).all()


def test_a_trend_is_gain_over_what_the_whole_shop_gained():
    got = trend(np.array([30.0, 10.0, 0.0]), np.array([10.0, 10.0, 0.0]))
    # the shop doubled (20 -> 40), so 20 likes were to be expected of either
    assert got[:2] == pytest.approx([10 / 60**0.5, -10 / 40**0.5])
    assert np.isnan(got[2])


def test_two_more_likes_of_a_rare_item_do_not_beat_a_hundred_more_of_a_known_one():
    got = trend(np.array([3.0, 200.0, 798.0]), np.array([1.0, 100.0, 900.0]))
    assert got[1] > 2 * got[0] > 0
    assert got[0] == pytest.approx(2 / 14**0.5)
    assert got[1] == pytest.approx(100 / 310**0.5)


def test_trending_compares_the_last_days_with_as_many_before(make_log):
    events = likes(0, 6, 80) + likes(0, 2, 94) + likes(1, 2, 95) + likes(0, 1, 99, 50)
    events += likes(1, 5, 100, 50)
    got = fit_popularity(make_log(events), 2, SETTINGS).trending
    expected = trend(np.array([3.0, 7.0]), np.array([0.0, 0.0]))
    assert got == pytest.approx(expected)
    later = fit_popularity(
        make_log([*events, ("late", 2, "view", NONE, 105)]), 3, SETTINGS
    ).trending
    expected = trend(np.array([1, 5, 0.2]), np.array([2.0, 2.0, 0.0]))
    assert later == pytest.approx(expected)


def test_without_events_nothing_is_known(make_log):
    got = fit_popularity(make_log([]), 3, SETTINGS)
    assert np.isnan(got.popular).tolist() == [True] * 3
    assert np.isnan(got.trending).tolist() == [True] * 3
