from collections.abc import Callable

import numpy as np
import pytest

from recsys.catalogue.event_log import EventLog
from recsys.catalogue.item_table import ItemTable
from recsys.catalogue.times import from_us, to_us
from recsys.config import EvaluationSettings, Settings
from recsys.evaluation.exam import Asker, Exam
from recsys.evaluation.split import Window, by_time, window_exam, windows

DAY = 86_400_000_000
TEN_TO_TWENTY = Window(10 * DAY, 20 * DAY)

Items = Callable[..., ItemTable]
Log = Callable[..., EventLog]


def ten_to_twenty(log: EventLog, items: ItemTable, settings: Settings, most: int = 10) -> Exam:
    return window_exam(Asker(log, items, settings), TEN_TO_TWENTY, most).hiding_seen(True)


def test_the_windows_are_the_newest_shares_of_the_events(make_items: Items, make_log: Log) -> None:
    log = make_log(make_items(1), [("a", 0, day) for day in range(100)])
    _, validation, test = windows(log, EvaluationSettings(validation=0.2, test=0.1))
    assert validation == Window(70 * DAY, 90 * DAY)
    assert test == Window(90 * DAY, 99 * DAY + 1)


def test_events_of_one_moment_are_never_parted(make_items: Items, make_log: Log) -> None:
    log = make_log(make_items(1), [("a", 0, day // 25) for day in range(100)])
    _, validation, test = windows(log, EvaluationSettings(validation=0.2, test=0.1))
    assert test.start == 3 * DAY
    assert (validation.start, validation.end) == (2 * DAY, 3 * DAY)
    assert len(log.before(test.start)) == 75


def test_weights_are_learned_on_the_window_before_validation_too_where_enough_is_known_by_then(
    make_items: Items, make_log: Log
) -> None:
    items = make_items(1)
    log = make_log(items, [("a", 0, day) for day in range(100)])

    def earlier(validation: float, test: float) -> Exam | None:
        shares = EvaluationSettings(validation=validation, test=test)
        return by_time(log, items, Settings(evaluation=shares)).earlier

    exam = earlier(0.1, 0.1)
    assert exam is not None
    assert (exam.known.time[-1] + DAY) == 70 * DAY
    assert {question.query.at for question in exam.main} == {from_us(75 * DAY)}
    assert earlier(0.3, 0.3) is None, "models of the first 10 % say little of those of 40 %"


def test_a_share_of_nothing_is_an_empty_window(make_items: Items, make_log: Log) -> None:
    log = make_log(make_items(1), [("a", 0, day) for day in range(10)])
    _, validation, test = windows(log, EvaluationSettings(validation=0.0, test=0.0))
    assert test.start == test.end == validation.start


def test_the_question_comes_in_the_middle_of_a_persons_likes(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(9)
    log = make_log(items, [("a", 0, 1), *[("a", n, 9 + n) for n in range(1, 6)], ("a", 8, 30)])
    (question,) = ten_to_twenty(log, items, small).main
    assert question.query.history.items.tolist() == [2, 1, 0]
    assert question.query.seen.tolist() == [0, 1, 2]
    assert question.targets.tolist() == [3, 4, 5]
    assert to_us(question.query.at) == 12 * DAY


def test_dislikes_before_the_question_are_known_and_are_no_targets(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(5)
    dislike_3, dislike_4 = -4, -5
    events = [("a", 0, 10), ("a", dislike_3, 11), ("a", 1, 12), ("a", dislike_4, 13)]
    (question,) = ten_to_twenty(make_log(items, events), items, small).main
    assert question.query.history.items.tolist() == [3, 0]
    assert question.query.history.weights[0] < 0
    assert question.targets.tolist() == [1]


def test_what_a_slate_may_not_show_is_no_target(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(5, available=[True, True, False, True, True])
    events = [("a", 0, 5), *[("a", n, 10 + n) for n in (1, 2, 0, 3)], ("b", 2, 12)]
    (question,) = ten_to_twenty(make_log(items, events), items, small).main
    assert question.targets.tolist() == [3]  # 0 is seen, 2 is off sale, and b has no target left


def test_nothing_after_the_question_is_in_its_history(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    rng = np.random.default_rng(0)
    items = make_items(50)
    events = [
        (f"p{rng.integers(30)}", int(rng.integers(-50, 50)), float(rng.integers(0, 25)))
        for _ in range(1_000)
    ]
    log = make_log(items, events)
    exam = ten_to_twenty(log, items, small, 100)
    assert len(exam.main) > 20
    for question in exam.main:
        at = to_us(question.query.at)
        assert TEN_TO_TWENTY.start <= at < TEN_TO_TWENTY.end
        known = set(log.item[log.time <= at].tolist())
        assert known.issuperset(question.query.history.items.tolist())


def test_first_visits_are_of_people_never_seen_before_and_ask_for_everything(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(6)
    events = [("old", 0, 1), ("old", 1, 11), ("new", 2, 12), ("new", 3, 13), ("later", 4, 25)]
    exam = ten_to_twenty(make_log(items, events), items, small)
    (visit,) = exam.visits
    assert len(exam.main) == 2
    assert visit.targets.tolist() == [2, 3]
    assert len(visit.query.history) == len(visit.query.seen) == 0
    assert to_us(visit.query.at) == 12 * DAY


def test_after_the_first_event_a_newcomer_is_asked_for_all_later_likes(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(9)
    known_before = [("old", 0, 1), ("old", 1, 12), ("old", 2, 13)]
    once = [("once", 1, 12)]
    went_on = [("new", -6, 10), ("new", 1, 11), ("new", 2, 13), ("new", 3, 14)]
    log = make_log(items, [*known_before, *once, *went_on])
    (question,) = ten_to_twenty(log, items, small).firsts
    assert log.actors[question.actor] == "new"
    assert question.query.history.items.tolist() == [1]
    assert question.targets.tolist() == [2, 3]
    assert to_us(question.query.at) == 13 * DAY


def test_new_items_are_ranked_alone_where_they_are_the_answer(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(5)
    events = [("x", 0, 1), ("x", 1, 2), ("a", 0, 11), ("a", 1, 12), ("a", 3, 13), ("b", 1, 12)]
    (question,) = ten_to_twenty(make_log(items, events), items, small).new
    assert question.query.rerank is not None
    assert question.query.rerank.tolist() == [2, 3, 4]
    assert question.targets.tolist() == [3]


def test_items_made_new_are_in_no_log_and_in_no_history_but_still_to_be_found(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(5)
    events = [("x", 0, 1), ("x", 1, 2), *[("a", n, 10 + n) for n in range(4)], ("b", 1, 12)]
    log = make_log(items, [*events, ("b", 2, 13)])
    exam = ten_to_twenty(log, items, small).forgetting(np.array([False, True, False, True, False]))
    assert exam.known.item.tolist() == [0]
    a = exam.main[0]
    assert a.query.history.items.tolist() == [0]
    assert a.targets.tolist() == [2, 3]
    assert exam.new[0].query.rerank.tolist() == [1, 2, 3, 4]
    assert [log.actors[q.actor] for q in exam.firsts] == ["a"]  # nothing is known of b any more


def test_a_large_window_is_sampled_by_the_seed(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(3)
    log = make_log(items, [(f"p{n}", n % 3, 10 + n / 100) for n in range(300)])

    def moments(seed: int) -> list[object]:
        chosen = small.evaluation.model_copy(update={"seed": seed})
        settings = small.model_copy(update={"evaluation": chosen})
        exam = ten_to_twenty(log, items, settings, 20)
        return [question.query.at for question in exam.main]

    assert len(set(moments(1))) == 20
    assert moments(1) == moments(1)
    assert moments(1) != moments(2)


@pytest.mark.parametrize("day", [5, 25])
def test_a_window_in_which_nobody_liked_anything_asks_nothing(
    make_items: Items, make_log: Log, small: Settings, day: float
) -> None:
    items = make_items(2)
    exam = ten_to_twenty(make_log(items, [("a", 0, day)]), items, small)
    assert exam.questions == []
