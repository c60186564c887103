from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recsys.catalogue.event_log import EventLog, LogBuilder
from recsys.catalogue.item_table import ItemTable
from recsys.catalogue.times import to_us
from recsys.config import EvaluationSettings, Settings
from recsys.evaluation.exam import Exam, Plan
from recsys.evaluation.split import by_parts, by_time, leave_one_out, make_plan
from recsys.identity import IdMap, ItemId

DAY = 86_400_000_000

Items = Callable[..., ItemTable]
Log = Callable[..., EventLog]


def told(exam: Exam, log: EventLog) -> dict[str, tuple[list[int], list[int]]]:
    """Who is asked -> (history, newest first; targets)."""
    return {
        log.actors[q.actor]: (q.query.history.items.tolist(), q.targets.tolist()) for q in exam.main
    }


def known(exam: Exam, log: EventLog) -> list[tuple[str, int]]:
    """(who, item) of each event."""
    return [
        (log.actors[actor], int(item))
        for actor, item in zip(exam.known.actor, exam.known.item, strict=True)
    ]


def test_the_setting_names_the_protocol(make_items: Items, make_log: Log) -> None:
    items = make_items(9)
    log = make_log(items, [("a", n, n) for n in range(9)])
    for name, maker in (("time", by_time), ("leave-one-out", leave_one_out)):
        settings = Settings(evaluation=EvaluationSettings(protocol=name))
        assert make_plan(log, items, settings).protocol == maker(log, items, settings).protocol
    assert "time split" in by_time(log, items, Settings()).protocol


ONE_OUT = [
    *[("a", n, n) for n in (0, 1, 2, 3)],
    ("b", 4, 0),
    ("b", 5, 9),
    *[("c", n, 5) for n in (6, 7, 8)],
    ("c", 0, 8),
]


def test_the_last_like_is_asked_for_and_before_it_the_last_but_one(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(9)
    dislike_0 = -1
    log = make_log(items, [*ONE_OUT[:-1], ("c", dislike_0, 8)])
    plan = leave_one_out(log, items, small)
    assert told(plan.rehearsal, log) == {"a": ([1, 0], [2]), "c": ([6], [7])}
    assert told(plan.test, log) == {"a": ([2, 1, 0], [3]), "c": ([7, 6], [8])}
    assert [to_us(q.query.at) for q in plan.test.main] == [3 * DAY, 5 * DAY]
    assert plan.test.visits == plan.rehearsal.visits == []


def test_nothing_from_the_like_asked_for_on_is_known_of_that_person(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(9)
    log = make_log(items, ONE_OUT)
    plan = leave_one_out(log, items, small)
    of_b = [("b", 4), ("b", 5)]
    assert sorted(known(plan.rehearsal, log)) == sorted(
        [("a", 0), ("a", 1), ("c", 6), ("c", 7), *of_b]
    )
    assert sorted(known(plan.test, log)) == sorted(
        [*known(plan.rehearsal, log), ("a", 2), ("c", 8)]
    )


def test_papers_ask_the_test_of_models_that_never_saw_validation(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(9)
    log = make_log(items, ONE_OUT)
    plan = leave_one_out(log, items, small)
    assert plan.train_only is not None
    assert told(plan.train_only, log) == told(plan.test, log)
    assert known(plan.train_only, log) == known(plan.rehearsal, log)
    assert by_time(log, items, small).train_only is None


def test_an_item_that_is_liked_again_is_a_target_whether_or_not_seen_items_are_hidden(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(9)
    events = [("a", 0, 0), ("a", 1, 1), ("a", 0, 2), *[("b", n, n) for n in (3, 4, 5)]]
    log = make_log(items, events)
    test = leave_one_out(log, items, small).test
    assert told(test, log)["a"][1] == [0]
    assert test.main[0].query.seen.tolist() == [0, 1]
    assert told(test.hiding_seen(True), log) == told(test, log)
    shown = test.hiding_seen(False)
    assert told(shown, log) == told(test, log)
    assert all(len(question.query.seen) == 0 for question in shown.main)


def test_what_ends_a_visit_that_had_begun_is_no_target(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(9)
    log = make_log(items, [("a", 0, 0), ("a", 1, 0.9), ("a", 1, 1), ("a", 0, 1), ("a", 2, 1)])
    plan = by_parts(log, np.array([0, 0, 2, 2, 2]), items, small)
    assert told(plan.test, log)["a"][1] == [0, 2]


PARTS = [("a", 0), ("a", 1), ("b", 2), ("a", 3), ("c", 4), ("a", 5), ("b", 6), ("a", 7)]
PART = np.array([0, 0, 0, 1, 1, 2, 2, 2])


def test_each_part_is_asked_with_the_parts_before_it_known(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(9)
    log = make_log(items, [(who, item, n) for n, (who, item) in enumerate(PARTS)])
    plan = by_parts(log, PART, items, small)
    assert plan.train_only is not None
    assert told(plan.rehearsal, log) == {"a": ([1, 0], [3]), "c": ([], [4])}
    assert told(plan.test, log) == {"a": ([3, 1, 0], [5, 7]), "b": ([2], [6])}
    assert told(plan.train_only, log) == {"a": ([1, 0], [5, 7]), "b": ([2], [6])}
    assert known(plan.rehearsal, log) == known(plan.train_only, log) == PARTS[:3]
    assert known(plan.test, log) == PARTS[:5]
    assert {name: len(part) for name, part in plan.parts.items()} == {
        "training": 3,
        "validation": 2,
        "test": 3,
    }


def test_without_a_validation_part_as_large_a_share_as_the_test_has_is_held_back(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(30)
    train = [("a", n, 0) for n in range(16)] + [("b", 0, 0), ("b", 1, 0), ("c", 2, 0)]
    train += [("a", n, 0) for n in range(16)]  # liked again
    likes = len(train)
    train += [("a", -n - 1, 0) for n in range(16)]  # disliked once: that goes with the item as well
    test = [("a", n, 1) for n in range(20, 29)]
    log = make_log(items, train + test)
    part = np.array([0] * len(train) + [2] * len(test))
    plan = by_parts(log, part, items, small)
    assert plan.train_only is None
    assert known(plan.test, log) == [
        (who, item if item >= 0 else -item - 1) for who, item, _ in train
    ]
    asked = told(plan.rehearsal, log)
    assert set(asked) == {"a", "b"}
    assert len(asked["a"][1]) == round(16 * 9 / (9 + likes))
    assert len(asked["b"][1]) == 1
    for who, (history, targets) in asked.items():
        of_them = [item for name, item in known(plan.rehearsal, log) if name == who]
        assert set(of_them) == set(history)
        assert not set(of_them) & set(targets)
    assert known(by_parts(log, part, items, small).rehearsal, log) == known(plan.rehearsal, log)


def test_items_off_sale_are_no_targets(make_items: Items, make_log: Log, small: Settings) -> None:
    items = make_items(5, available=[True, True, False, True, False])
    log = make_log(items, [("a", n, 0) for n in range(5)])
    assert leave_one_out(log, items, small).test.main == []
    plan = by_parts(log, np.array([0, 0, 2, 2, 2]), items, small)
    assert told(plan.test, log)["a"][1] == [3]


def test_a_large_test_is_sampled_by_the_seed(
    make_items: Items, make_log: Log, small: Settings
) -> None:
    items = make_items(9)
    log = make_log(items, [(f"p{person}", n, n) for person in range(60) for n in range(4)])
    few = small.evaluation.model_copy(update={"max_queries": 7})
    settings = small.model_copy(update={"evaluation": few})
    for plan in (
        leave_one_out(log, items, settings),
        by_parts(log, np.arange(len(log)) // 60 // 2 * 2, items, settings),
    ):
        assert len(plan.test.main) == len(plan.rehearsal.main) == 7


@pytest.mark.parametrize("events", [[], [("a", 0, 0)], [("a", -1, 0), ("b", -2, 0)]])
def test_a_log_of_next_to_nothing_asks_nothing(
    make_items: Items, make_log: Log, small: Settings, events: list[tuple[str, int, float]]
) -> None:
    items = make_items(3)
    log = make_log(items, events)
    plans = [
        leave_one_out(log, items, small),
        by_parts(log, np.zeros(len(log), dtype=int), items, small),
    ]
    assert all(plan.test.questions == plan.rehearsal.questions == [] for plan in plans)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 5),
        st.sampled_from(["like", "view", "dislike"]),
        st.integers(0, 4),
    ),
    max_size=25,
)


@given(events=EVENTS, parts=st.lists(st.integers(0, 2), min_size=25, max_size=25))
@hypothesis_settings(max_examples=150, deadline=None)
def test_whatever_is_asked_for_is_known_to_nobody(
    catalogue: ItemTable,
    events: list[tuple[str, int, str, int]],
    parts: list[int],
) -> None:
    """Each event has its place in the log as its value, by which it is found again."""
    items = catalogue
    builder = LogBuilder(items.ids)
    events = sorted(events, key=lambda event: event[3])
    if events:
        builder.add(
            [
                (who, None, f"{n:03}", kind, row, day * DAY)
                for row, (who, n, kind, day) in enumerate(events)
            ]
        )
    log = builder.build()
    part = np.array(parts[: len(log)], dtype=int)
    for plan in (
        by_time(log, items, Settings()),
        leave_one_out(log, items, Settings()),
        by_parts(log, part, items, Settings()),
    ):
        check(plan, log)


@pytest.fixture(scope="module")
def catalogue() -> ItemTable:
    import pyarrow as pa

    from recsys.catalogue.item_table import SCHEMA

    empty = {"categories": [], "images": [], "attributes": "{}", "available": True, "created_at": 0}
    ids = IdMap([ItemId(f"{n:03}") for n in range(6)])
    return ItemTable(pa.Table.from_pylist([empty | {"id": key} for key in ids], schema=SCHEMA))


def check(plan: Plan, log: EventLog) -> None:
    """The parts are the log; no model knows an event of the part that is asked about."""
    training, validation, test = (
        set(plan.parts[name].value.tolist()) for name in ("training", "validation", "test")
    )
    assert len(training) + len(validation) + len(test) == len(training | validation | test)
    assert training | validation | test == set(range(len(log)))
    assert set(plan.rehearsal.known.value.tolist()) == training
    assert set(plan.test.known.value.tolist()) == training | validation
    if plan.train_only:
        assert set(plan.train_only.known.value.tolist()) == training
    held = plan.parts["test"]
    for question in plan.test.questions:
        theirs = held.item[held.actor == question.actor]
        assert set(question.targets.tolist()) <= set(theirs.tolist())
        assert set(question.query.history.items.tolist()) <= set(
            log.item[log.actor == question.actor].tolist()
        )
