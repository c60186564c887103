"""What events weigh, found on validation: shops of which it is known what views, purchases and age say."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from recsys.catalogue.event_log import EventLog, LogBuilder
from recsys.config import EvaluationSettings, EventSettings, PreferenceSettings, Settings
from recsys.evaluation.past import Found
from recsys.evaluation.split import Plan, by_time
from recsys.evaluation.weighing import search_ageing, search_events
from recsys.identity import IdMap, ItemId
from recsys.preference.models import fit_preference
from recsys.rebuild import Content, World, evaluate, fit, found_by

DAY = 86_400_000_000
PEOPLE, GROUPS, ITEMS = 240, 4, 200

Row = tuple[str, int, str, float]
"""(person, item, type, day)"""


def of_group(rng: np.random.Generator, group: int) -> int:
    return int(rng.integers(ITEMS // GROUPS)) * GROUPS + group


def shop(telling: str, idle: str) -> list[Row]:
    """Everybody keeps to a group of items in events of the telling type; those of the idle one are anyhow.

    There are more views than purchases.
    """
    times = {"view": 16, "purchase": 10}
    rng = np.random.default_rng(0)
    kept = [
        (f"p{person}", of_group(rng, person % GROUPS), telling, float(day))
        for person in range(PEOPLE)
        for day in rng.uniform(0, 100, times[telling])
    ]
    anyhow = [
        (f"p{person}", int(rng.integers(ITEMS)), idle, float(day))
        for person in range(PEOPLE)
        for day in rng.uniform(0, 100, times[idle])
    ]
    return kept + anyhow


def fashions() -> list[Row]:
    """Everybody keeps to a group for a while, then to another."""
    rng = np.random.default_rng(0)
    return [
        (f"p{person}", of_group(rng, (person + int(day // 100)) % GROUPS), "like", float(day))
        for person in range(PEOPLE)
        for day in rng.uniform(0, 400, 24)
    ]


def steady() -> list[Row]:
    """Everybody keeps to a group for good, and now and then takes whatever comes."""
    rng = np.random.default_rng(0)
    return [
        (
            f"p{person}",
            of_group(rng, person % GROUPS) if rng.random() < 0.6 else int(rng.integers(ITEMS)),
            "like",
            float(day),
        )
        for person in range(PEOPLE)
        for day in rng.uniform(0, 400, 14)
    ]


def planned(rows: Sequence[Row], make_items, settings: Settings) -> tuple[EventLog, Plan]:  # type: ignore[no-untyped-def]
    items = make_items(ITEMS)
    builder = LogBuilder(IdMap([ItemId(f"{n:03}") for n in range(ITEMS)]))
    builder.add(
        [(who, None, f"{item:03}", kind, np.nan, round(day * DAY)) for who, item, kind, day in rows]
    )
    log = builder.build()
    return log, by_time(log, items, settings)


def given(**events: object) -> Settings:
    own = PreferenceSettings(cooccurrence_fading=0.0, linear_memory_gb=0, factors=0)
    evaluation = EvaluationSettings(validation=0.2, test=0.1)
    return Settings(events=EventSettings(**events), preference=own, evaluation=evaluation)  # type: ignore[arg-type]


def found(rows: Sequence[Row], make_items, settings: Settings, **how: object) -> EventSettings:  # type: ignore[no-untyped-def]
    _, plan = planned(rows, make_items, settings)
    asked = plan.rehearsal.main
    return search_events(plan.rehearsal.known, asked, ITEMS, settings, **how)  # type: ignore[arg-type]


def aged(rows: Sequence[Row], make_items, settings: Settings) -> float:  # type: ignore[no-untyped-def]
    """The half-life found."""
    _, plan = planned(rows, make_items, settings)
    fitted = fit_preference(plan.rehearsal.known, ITEMS, {}, settings)
    return search_ageing(fitted, plan.rehearsal.main, settings).half_life_days


def test_where_views_say_nothing_and_purchases_all_a_view_comes_to_weigh_next_to_nothing(
    make_items,
) -> None:
    weights = found(shop("purchase", "view"), make_items, given()).weights
    assert 0 < weights["view"] <= 0.2 / 4
    assert weights["purchase"] == 1


def test_where_views_say_all_and_purchases_nothing_a_view_comes_to_weigh_more(make_items) -> None:
    weights = found(shop("view", "purchase"), make_items, given()).weights
    assert weights["view"] == 1
    assert 0 < weights["purchase"] < 0.7
    bought = given(weights={"purchase": 1.0})
    weights = found(shop("view", "purchase"), make_items, bought).weights
    assert 0.2 < weights["view"] <= weights["purchase"] == 1


def test_where_tastes_change_events_age_fast_and_where_they_stay_slowly(make_items) -> None:
    assert aged(fashions(), make_items, given()) < 90
    settings = given()
    last = settings.events.model_copy(update={"half_life_days": 10.0})
    assert aged(steady(), make_items, settings.model_copy(update={"events": last})) > 30


def test_what_was_given_stays(make_items) -> None:
    settings = given(weights={"view": 0.2}, half_life_days=180)
    assert found(shop("purchase", "view"), make_items, settings) == settings.events
    assert aged(fashions(), make_items, settings) == 180
    half = given(half_life_days=180)
    assert found(shop("purchase", "view"), make_items, half).weights["view"] < 0.2


def test_a_type_that_is_alone_or_does_not_occur_is_not_searched(make_items) -> None:
    usual = EventSettings().weights
    assert found(fashions(), make_items, given()).weights == usual
    weights = found(shop("purchase", "view"), make_items, given()).weights
    assert {name: w for name, w in weights.items() if name != "view"} == {
        name: w for name, w in usual.items() if name != "view"
    }


@pytest.mark.parametrize("how", ["switched off", "no questions"])
def test_without_a_search_or_questions_nothing_changes(make_items, how) -> None:  # type: ignore[no-untyped-def]
    settings = given()
    if how == "switched off":
        off = settings.preference.model_copy(update={"search": False})
        settings = settings.model_copy(update={"preference": off})
    _, plan = planned(shop("purchase", "view"), make_items, settings)
    asked = [] if how == "no questions" else plan.rehearsal.main
    assert search_events(plan.rehearsal.known, asked, ITEMS, settings) == settings.events
    fitted = fit_preference(plan.rehearsal.known, ITEMS, {}, settings)
    assert search_ageing(fitted, asked, settings) == settings.events


def test_where_the_times_of_events_say_nothing_the_half_life_stays(make_items) -> None:
    settings = given()
    log, plan = planned(fashions(), make_items, settings)
    world, nothing = World(make_items(ITEMS), log), Content({}, {})
    for dated in (True, False):
        plan = replace(plan, dated=dated)
        outcome = evaluate(world, nothing, settings, Silent(), plan, beside=False)
        assert (outcome.events["half_life_days"] == 180) is not dated


def test_the_search_sets_out_from_where_the_last_one_ended(make_items) -> None:
    """Nothing is to be gained here: likes come anyhow."""
    rng = np.random.default_rng(0)
    rows = [(f"p{n % 50}", int(rng.integers(ITEMS)), "like", float(n) / 30) for n in range(1500)]
    start = EventSettings(half_life_days=365, weights={"view": 0.1})
    settings = given(weights={"purchase": 0.9})
    settings = settings.model_copy(update={"evaluation": EvaluationSettings(validation=0.02)})
    got = found(rows, make_items, settings, start=start)
    assert got.weights == settings.events.weights | {"view": 0.1}


def test_questions_weigh_a_history_anew_and_keep_their_targets(make_items) -> None:
    settings = given()
    log, plan = planned(shop("purchase", "view"), make_items, settings)
    lighter = settings.events.model_copy(
        update={"weights": {**settings.events.weights, "view": 0.01}}
    )
    again = plan.rehearsal.weighing(lighter)
    for old, new in zip(plan.rehearsal.main, again.main, strict=True):
        assert new.targets.tolist() == old.targets.tolist()
        assert new.query.seen.tolist() == old.query.seen.tolist()
    asker_again = by_time(log, make_items(ITEMS), settings.model_copy(update={"events": lighter}))
    for asked, new in zip(asker_again.rehearsal.main, again.main, strict=True):
        assert new.query.history.weights.tolist() == asked.query.history.weights.tolist()
    alone = replace(plan.rehearsal.main[0], viewer=None)
    assert alone.weighing(lighter) is alone


class Silent:
    """Progress that nobody watches."""

    def task(self, name: str, total: int | None = None) -> Callable[[int], None]:
        del name, total
        return lambda _: None


def test_what_is_found_is_what_is_measured_fitted_and_searched_from_next_time(make_items) -> None:
    settings = given()
    log, _ = planned(shop("purchase", "view"), make_items, settings)
    world, nothing = World(make_items(ITEMS), log), Content({}, {})
    outcome = evaluate(world, nothing, settings, Silent(), beside=False)
    assert outcome.events["weights"]["view"] < 0.2
    assert outcome.settings["events"]["weights"]["view"] == 0.2, "as configured"
    found = found_by(outcome)
    preference = fit(world, nothing, outcome, settings, datetime.now(UTC), Silent()).preference
    assert preference.events == fit_preference(log, ITEMS, {}, as_found(settings, found)).events
    assert preference.events.weights == found.events.weights
    fixed = EventSettings(**found.events.model_dump())
    own = as_found(settings, found).model_copy(update={"events": fixed})
    off = own.preference.model_copy(update={"search": False})
    asked_alike = evaluate(
        world, nothing, own.model_copy(update={"preference": off}), Silent(), beside=False
    )
    assert asked_alike.metrics() == outcome.metrics()


def as_found(settings: Settings, found: Found) -> Settings:
    return settings.model_copy(update={"preference": found.preference, "events": found.events})
