"""Rules are kept as they were given, in both databases, and what contradicts itself is told."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine

from recsys.catalogue.database import reading, writing
from recsys.catalogue.rule import PLACEMENTS, Rule
from recsys.catalogue.rules import (
    add_rule,
    get_rule,
    read_rules,
    remove_rule,
    replace_rule,
    rules_stamp,
)
from recsys.errors import UnknownRule

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=7)

FULL = Rule.model_validate(
    {
        "name": "Zoë's sale",
        "action": "boost",
        "by": 1.5,
        "where": {
            "categories": ["Garden"],
            "price_max": 20,
            "attributes": {"colour": ["red", "blue"]},
            "without_brands": ["Acme"],
        },
        "placements": ["similar", "search"],
        "starts_at": "2026-06-01T14:00:00+02:00",
        "ends_at": LATER,
    }
)
PIN = Rule(name="on top", action="pin", items=("a/b c",), place=1)


def test_a_rule_comes_back_as_it_was_given_and_the_oldest_comes_first(engine: Engine) -> None:
    with writing(engine) as connection:
        kept = [add_rule(connection, rule, NOW) for rule in (FULL, PIN)]
    with reading(engine) as connection:
        assert read_rules(connection) == kept
        assert [get_rule(connection, rule.id) for rule in kept] == kept
    for rule, given in zip(kept, (FULL, PIN), strict=True):
        assert rule.model_dump(include=set(Rule.model_fields)) == given.model_dump()
        assert (rule.created_at, rule.updated_at) == (NOW, NOW)
    assert kept[0].id < kept[1].id
    assert kept[0].starts_at == NOW


def test_a_rule_that_is_replaced_keeps_its_age_and_one_that_is_removed_is_gone(
    engine: Engine,
) -> None:
    with writing(engine) as connection:
        first, second = (add_rule(connection, rule, NOW) for rule in (FULL, PIN))
        changed = replace_rule(connection, first.id, PIN, LATER)
        remove_rule(connection, second.id)
    assert (changed.id, changed.created_at, changed.updated_at) == (first.id, NOW, LATER)
    with reading(engine) as connection:
        assert read_rules(connection) == [changed]
        assert changed.where is None
        for ask in (get_rule, remove_rule):
            with pytest.raises(UnknownRule, match=f"there is no rule {second.id}"):
                ask(connection, second.id)
        with pytest.raises(UnknownRule):
            replace_rule(connection, second.id, PIN, NOW)


def test_the_id_of_a_removed_rule_is_not_used_again(engine: Engine) -> None:
    with writing(engine) as connection:
        first = add_rule(connection, PIN, NOW)
        remove_rule(connection, first.id)
        assert add_rule(connection, PIN, NOW).id > first.id


def test_any_change_is_told_by_another_stamp(engine: Engine) -> None:
    def stamp() -> object:
        with reading(engine) as connection:
            return rules_stamp(connection)

    seen = [stamp()]
    with writing(engine) as connection:
        one, _ = (add_rule(connection, PIN, NOW) for _ in range(2))
    seen.append(stamp())
    with writing(engine) as connection:
        replace_rule(connection, one.id, FULL, NOW - timedelta(days=1))
    seen.append(stamp())
    with writing(engine) as connection:
        remove_rule(connection, one.id)
        add_rule(connection, PIN, NOW)
    seen.append(stamp())
    assert len(set(seen)) == 4
    assert stamp() == seen[-1]


SOME = {"name": "x", "items": ["a"]}
BY = {"name": "x", "action": "boost", "by": 1}

WRONG = [
    (SOME | {"action": "lift"}, "action"),
    (SOME | {"action": "exclude", "name": ""}, "name"),
    (SOME | {"action": "exclude", "name": "\0"}, "NUL"),
    (SOME | {"action": "exclude", "until": "2026-01-01"}, "until"),
    (SOME | {"action": "boost"}, "by: a boost needs it"),
    (SOME | {"action": "bury"}, "by: a bury needs it"),
    (SOME | {"action": "boost", "by": 0}, "greater than 0"),
    (SOME | {"action": "boost", "by": float("nan")}, "finite"),
    (SOME | {"action": "exclude", "by": 1}, "by: only a boost or a bury takes it"),
    (SOME | {"action": "pin"}, "place: a pin needs it"),
    (SOME | {"action": "pin", "place": 0}, "greater than or equal to 1"),
    (SOME | {"action": "exclude", "place": 1}, "place: only a pin takes it"),
    (SOME | {"action": "pin", "place": 1, "items": ["a", "b"]}, r"one item by its id \(found 2\)"),
    (BY, r"give items or where.*\(found neither\)"),
    (BY | {"items": ["a"], "where": {"brands": ["b"]}}, r"\(found both\)"),
    (BY | {"where": {}}, "it holds for every item: name a category"),
    (BY | {"where": {"price_min": 2, "price_max": 1}}, "above price_max"),
    (BY | {"where": {"colour": ["red"]}}, "where.colour"),
    (BY | {"where": {"brands": ["\0"]}}, "NUL"),
    (BY | {"items": ["a"], "placements": ["home"]}, "placements"),
    (BY | {"items": ["a"], "ends_at": "2026-01-01T00:00:00"}, "has no time zone"),
    (BY | {"items": ["a"], "starts_at": LATER, "ends_at": NOW}, "is not after starts_at"),
    (BY | {"items": [str(n) for n in range(1_001)]}, "at most 1000"),
]


@pytest.mark.parametrize(("given", "message"), WRONG, ids=lambda value: str(value)[:60])
def test_a_rule_that_contradicts_itself_is_refused(given: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Rule.model_validate(given)


def test_a_rule_holds_from_its_start_until_its_end() -> None:
    moments = (NOW - timedelta.resolution, NOW, LATER - timedelta.resolution, LATER)
    assert [FULL.state_at(at) for at in moments] == ["scheduled", "in force", "in force", "ended"]
    assert {PIN.state_at(at) for at in moments} == {"in force"}


def test_a_rule_is_about_all_slates_or_those_it_names_and_a_pin_about_no_search_unless_named() -> (
    None
):
    def on(**said: object) -> set[str]:
        rule = Rule.model_validate(said | {"name": "x", "items": ["a"]})
        return {placement for placement in PLACEMENTS if rule.holds_on(placement)}

    assert on(action="exclude") == set(PLACEMENTS)
    assert on(action="exclude", placements=["new", "new"]) == {"new"}
    assert on(action="pin", place=1) == set(PLACEMENTS) - {"search"}
    assert on(action="pin", place=1, placements=["search"]) == {"search"}
