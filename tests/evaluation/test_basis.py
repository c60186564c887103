"""When settings and weights are taken over from an earlier build, and when they are learned again."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from recsys.catalogue.event_log import EventLog
from recsys.catalogue.item_table import SCHEMA, ItemTable
from recsys.config import EventSettings, PreferenceSettings, Settings
from recsys.evaluation.basis import basis_of, changed, outdated
from recsys.evaluation.past import Past
from recsys.evaluation.result import Basis
from recsys.evaluation.split import Plan, make_plan

ITEMS, EVENTS = 3_000, 20_000


def items(names: Sequence[str]) -> ItemTable:
    rows = [
        {
            "id": name,
            "categories": [],
            "images": [],
            "attributes": "{}",
            "available": True,
            "created_at": 0,
        }
        for name in sorted(names)
    ]
    return ItemTable(pa.Table.from_pylist(rows, SCHEMA))


def log(first: int, end: int, n_items: int = ITEMS) -> EventLog:
    """Event n is the same in any log that holds it."""
    number = np.arange(first, end)
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    return EventLog(
        actors=tuple(f"u{n:04d}" for n in range(500)),
        types=("purchase",),
        actor=(number % 500).astype(np.int32),
        item=(number * 7 % n_items).astype(np.int32),
        type=np.zeros(len(number), np.int16),
        value=np.full(len(number), np.nan, np.float32),
        time=start + number * int(timedelta(minutes=1).total_seconds() * 1e6),
    )


NAMES = [f"i{n:05d}" for n in range(ITEMS)]


def found(
    events: EventLog, settings: Settings | None = None, names: Sequence[str] = NAMES
) -> tuple[Basis, Plan]:
    settings = settings or Settings()
    table = items(names)
    plan = make_plan(events, table, settings)
    return basis_of(Past(table, {}, {}, settings), events, plan), plan


@pytest.fixture(scope="module")
def then() -> Basis:
    return found(log(0, EVENTS))[0]


def test_without_anything_learned_all_is_learned(then: Basis) -> None:
    assert outdated(None, *found(log(0, EVENTS))) != ""


@pytest.mark.parametrize("more", [0, EVENTS // 100, EVENTS // 12])
def test_a_little_more_changes_nothing(then: Basis, more: int) -> None:
    assert outdated(then, *found(log(0, EVENTS + more))) == ""


@pytest.mark.parametrize("window", [(0, EVENTS * 6 // 5), (EVENTS // 5, EVENTS * 6 // 5)])
def test_more_than_a_tenth_of_other_events_is_learned_from(
    then: Basis, window: tuple[int, int]
) -> None:
    assert "of the events" in outdated(then, *found(log(*window)))


def test_more_than_a_tenth_of_other_items_is_learned_from(then: Basis) -> None:
    names = [*NAMES, *(f"j{n:05d}" for n in range(ITEMS // 5))]
    assert "of the items" in outdated(then, *found(log(0, EVENTS), names=names))


def test_the_share_of_what_changed_is_told_closely() -> None:
    basis, later = (found(log(0, end))[0] for end in (EVENTS, EVENTS * 10 // 9))
    assert changed(basis.events, later.events) == pytest.approx(0.1, abs=0.02)


def test_the_seventh_build_learns_again(then: Basis) -> None:
    now = found(log(0, EVENTS))
    assert outdated(then.model_copy(update={"builds": 5}), *now) == ""
    assert "7 builds" in outdated(then.model_copy(update={"builds": 6}), *now)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(preference=PreferenceSettings(linear_ridge=200.0)),
        Settings(preference=PreferenceSettings(linear_ridge=PreferenceSettings().linear_ridge)),
        Settings(events=EventSettings(half_life_days=30.0)),
    ],
)
def test_another_setting_is_learned_with(then: Basis, settings: Settings) -> None:
    """Also one that is given its usual value: it is not searched any more."""
    assert "settings" in outdated(then, *found(log(0, EVENTS), settings))


def test_what_was_learned_from_is_never_tested_on(then: Basis) -> None:
    """As after many of the newest events were erased: the test's window goes back."""
    now, plan = found(log(0, EVENTS))
    start = int(plan.parts["test"].time[0])
    assert outdated(then.model_copy(update={"until": start - 1}), now, plan) == ""
    assert "reaches" in outdated(then.model_copy(update={"until": start}), now, plan)


def test_other_contents_are_other_items() -> None:
    from recsys.preference.cold import ContentPrior

    rows = np.random.default_rng(0).normal(size=(ITEMS, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    other = rows.copy()
    other[::2] *= -1
    events = log(0, EVENTS)
    table = items(NAMES)
    plan = make_plan(events, table, Settings())
    nobody = np.zeros((ITEMS, 1), np.int32)
    past = Past(
        table, {}, {"text": ContentPrior(rows, nobody, nobody.astype(np.float32))}, Settings()
    )
    one = basis_of(past, events, plan)
    changed_past = replace(past, priors={"text": replace(past.priors["text"], rows=other)})
    two = basis_of(changed_past, events, plan)
    assert changed(one.items, two.items) == pytest.approx(0.5, abs=0.05)
