import numpy as np
import pytest

from recsys.catalogue.times import EPOCH
from recsys.config import EventSettings
from recsys.preference.interactions import event_strength
from recsys.ranking.candidates import History, Query
from recsys.ranking.reasons import CONTEXT, deeds
from recsys.ranking.viewer import Viewer, Weighing, read_viewers

DAY = 86_400_000_000
TYPES = ("dislike", "impression", "like", "purchase", "rating", "view")


def read(*events: tuple[int, str, float, float], **settings: object) -> Viewer:
    """Events as (item, type, value, day)."""
    newest_first = sorted(events, key=lambda event: -event[-1])
    items, types, values, days = zip(*newest_first, strict=True) if events else ((), (), (), ())
    return read_viewers(
        np.array([0, len(events)]),
        np.array(items, dtype=np.int64),
        np.array([TYPES.index(name) for name in types], dtype=np.int16),
        np.array(values, dtype=np.float32),
        (np.array(days) * DAY).astype(np.int64),
        Weighing.of(TYPES, EventSettings(**settings)),
    )[0]


NAN = np.nan


@pytest.mark.parametrize("value", [NAN, 5.0, 4.0, 3.0, 1.0, -40.0])
@pytest.mark.parametrize("kind", TYPES)
def test_an_event_weighs_in_a_history_what_it_does_in_training(kind: str, value: float) -> None:
    values, settings = np.array([value], dtype=np.float32), EventSettings()
    expected = event_strength(np.array([TYPES.index(kind)]), values, TYPES, settings)
    history = read((7, kind, value, 0)).history
    assert history.weights == pytest.approx(expected[expected != 0])


def test_history_is_newest_first_and_halves_with_age() -> None:
    viewer = read((7, "purchase", NAN, 0), (8, "purchase", NAN, 180), (9, "purchase", NAN, 360))
    assert viewer.history.items.tolist() == [9, 8, 7]
    assert viewer.history.weights == pytest.approx([1, 0.5, 0.25])
    assert viewer.history.deeds.tolist() == deeds(["purchase"] * 3).tolist()


def test_only_the_distance_between_events_counts() -> None:
    early = read((1, "view", NAN, 0), (2, "view", NAN, 90))
    late = read((1, "view", NAN, 5000), (2, "view", NAN, 5090))
    assert early.history.weights == pytest.approx(late.history.weights)


def test_an_item_met_often_counts_once_and_never_more_than_fully() -> None:
    viewer = read(*[(3, "view", NAN, 0)] * 3, *[(4, "purchase", NAN, 0)] * 3)
    weights = dict(zip(viewer.history.items.tolist(), viewer.history.weights.tolist(), strict=True))
    assert weights == pytest.approx({3: 0.6, 4: 1.0})


def test_like_then_dislike_says_nothing_but_is_seen() -> None:
    viewer = read((3, "like", NAN, 0), (3, "dislike", NAN, 0))
    assert len(viewer.history) == 0
    assert viewer.seen.tolist() == [3]


def test_low_ratings_mean_less_of_this() -> None:
    viewer = read(
        (1, "rating", 5, 0), (2, "rating", 4, 0), (3, "rating", 3, 0), (4, "rating", 1, 0)
    )
    weights = dict(zip(viewer.history.items.tolist(), viewer.history.weights.tolist(), strict=True))
    assert weights == pytest.approx({1: 1.0, 2: 0.5, 4: -1.0})
    assert viewer.seen.tolist() == [1, 2, 3, 4]


def test_whatever_was_engaged_with_is_seen_but_an_impression_is_not() -> None:
    viewer = read((1, "view", NAN, 0), (2, "purchase", NAN, 0), (3, "impression", NAN, 0))
    assert viewer.seen.tolist() == [1, 2]
    assert sorted(viewer.history.items.tolist()) == [1, 2]


def test_a_shop_may_show_again_what_was_only_viewed() -> None:
    viewer = read((1, "view", NAN, 0), (2, "purchase", NAN, 0), seen=("purchase",))
    assert viewer.seen.tolist() == [2]


def test_unknown_items_are_left_out_and_nothing_is_fine() -> None:
    assert read((-1, "purchase", NAN, 0), (5, "purchase", NAN, 0)).history.items.tolist() == [5]
    assert len(read().history) == 0
    assert len(read((-1, "purchase", NAN, 0)).seen) == 0


def test_the_order_in_which_events_arrive_does_not_matter() -> None:
    events = [
        (1, "view", NAN, 3),
        (2, "purchase", NAN, 1),
        (1, "purchase", NAN, 9),
        (3, "like", NAN, 2),
    ]
    one, other = read(*events), read(*reversed(events))
    assert one.history.items.tolist() == other.history.items.tolist() == [1, 3, 2]
    assert one.history.weights == pytest.approx(other.history.weights)
    assert one.history.deeds.tolist() == other.history.deeds.tolist()
    assert one.history.deeds.tolist() == deeds(["purchase", "like", "purchase"]).tolist()


def test_the_longest_history_keeps_the_newest() -> None:
    events = [(n, "purchase", NAN, n) for n in range(10)]
    assert read(*events, history=3).history.items.tolist() == [9, 8, 7]


def test_the_page_comes_before_the_history_and_is_no_part_of_it() -> None:
    history = History(
        np.array([4, 5, 6]),
        np.array([1, 0.5, -0.5], dtype=np.float32),
        deeds(["like", "view", "dislike"]),
    )
    from datetime import UTC, datetime

    query = Query(at=datetime.now(UTC), limit=1, history=history, context=np.array([9, 5]))
    assert query.seeds.items.tolist() == [9, 5, 4, 6]
    assert query.seeds.deeds.tolist() == deeds([CONTEXT, CONTEXT, "like", "dislike"]).tolist()
    assert query.seeds.weights == pytest.approx([1, 1, 1, -0.5])
    assert query.segment == "page"


@pytest.mark.parametrize(
    ("likes", "minutes", "segment"),
    [(4, 29, "history"), (4, 31, "returning"), (4, None, "history"), (3, 31, "short")],
)
def test_who_did_nothing_for_half_an_hour_is_coming_back(
    likes: int, minutes: int | None, segment: str
) -> None:
    newest = None if minutes is None else -minutes * 60_000_000
    history = History(
        np.arange(likes), np.ones(likes, np.float32), deeds(["like"] * likes), None, newest
    )
    assert Query(at=EPOCH, limit=1, history=history).segment == segment


def test_a_history_knows_its_newest_telling_event() -> None:
    liked, seen_only = (1, "like", NAN, 5), (2, "impression", NAN, 9)
    assert read(liked, (3, "like", NAN, 2), seen_only).history.newest == 5 * DAY
    assert read(seen_only).history.newest is None
