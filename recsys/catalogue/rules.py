"""Rules in the database: kept, changed, forgotten, and told apart from what they were a moment ago."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import orjson
from pydantic import ValidationError
from sqlalchemy import BigInteger, Connection, Table, delete, insert, select, type_coerce, update

from recsys.catalogue.fields import explain
from recsys.catalogue.rule import KeptRule, Rule
from recsys.catalogue.tables import RuleRow
from recsys.catalogue.times import to_us
from recsys.errors import InputError, UnknownRule

RULES = cast(Table, RuleRow.__table__)

Stamp = tuple[tuple[int, int], ...]
"""Of all rules, in order, id and `updated_at` in microseconds: another one tells that rules have changed."""


def rules_of(text: bytes, name: str) -> list[Rule]:
    """The rules in a JSON text: one, or a list. name: of where it comes from. Raises InputError."""
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{name} is not JSON ({error}): give a rule, or a list of them") from None
    rules = list[Rule]()
    for n, one in enumerate(said if isinstance(said, list) else [said], start=1):
        try:
            rules.append(Rule.model_validate(one))
        except ValidationError as error:
            raise InputError(f"{name}, rule {n}: {explain(error)}") from None
    return rules


def add_rule(connection: Connection, rule: Rule, now: datetime) -> KeptRule:
    """Keep a new rule."""
    new = insert(RULES).values(**_values(rule), created_at=now, updated_at=now)
    row = connection.execute(new.returning(*RULES.c)).one()
    return _kept(row._asdict())


def replace_rule(connection: Connection, rule_id: int, rule: Rule, now: datetime) -> KeptRule:
    """Put a rule in the place of another one, whose age it keeps. Raises UnknownRule."""
    changed = update(RULES).where(RuleRow.id == rule_id).values(**_values(rule), updated_at=now)
    row = connection.execute(changed.returning(*RULES.c)).one_or_none()
    if row is None:
        raise _unknown(rule_id)
    return _kept(row._asdict())


def remove_rule(connection: Connection, rule_id: int) -> None:
    """Forget a rule. Raises UnknownRule."""
    gone = delete(RULES).where(RuleRow.id == rule_id).returning(RuleRow.id)
    if connection.execute(gone).first() is None:
        raise _unknown(rule_id)


def get_rule(connection: Connection, rule_id: int) -> KeptRule:
    """Raises UnknownRule."""
    row = connection.execute(select(*RULES.c).where(RuleRow.id == rule_id)).one_or_none()
    if row is None:
        raise _unknown(rule_id)
    return _kept(row._asdict())


def read_rules(connection: Connection) -> list[KeptRule]:
    """All of them, the oldest first, whether they hold or not."""
    rows = connection.execute(select(*RULES.c).order_by(RuleRow.id))
    return [_kept(row._asdict()) for row in rows]


def rules_stamp(connection: Connection) -> Stamp:
    """That of the rules as they are now: soon asked, also each second."""
    stamp = select(RULES.c.id, type_coerce(RULES.c.updated_at, BigInteger)).order_by(RuleRow.id)
    return tuple((key, updated) for key, updated in connection.execute(stamp))


def stamp_of(rules: Sequence[KeptRule]) -> Stamp:
    """That of rules as they were read."""
    return tuple((rule.id, to_us(rule.updated_at)) for rule in rules)


def _unknown(rule_id: int) -> UnknownRule:
    return UnknownRule(f"there is no rule {rule_id}: `recsys rules list` shows those that are")


def _values(rule: Rule) -> dict[str, Any]:
    """What the columns hold."""
    where = rule.where and rule.where.model_dump(mode="json", exclude_defaults=True)
    lists = {"items": list(rule.items), "placements": list(rule.placements)}
    return {name: getattr(rule, name) for name in Rule.model_fields} | lists | {"where": where}


def _kept(row: dict[str, Any]) -> KeptRule:
    return KeptRule.model_validate(row)
