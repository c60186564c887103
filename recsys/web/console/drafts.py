"""A rule as a form holds it: what was typed -> a checked rule, or what is wrong, field by field.

Lists are texts, a value on a line. A value that a line cannot hold as it is, with a line break or space around it,
stands in double quotes, as JSON writes it; so does an id with a comma, since ids may share a line.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import FormData

from recsys.catalogue.conditions import Condition
from recsys.catalogue.rule import Rule
from recsys.web.console.site import field, is_text

SCORED = frozenset({"boost", "bury"})

LISTS = ("categories", "brands", "without_categories", "without_brands")
"""Parts of a condition that name values."""

BOUNDS = ("price_min", "price_max")

DATES = ("starts_at", "ends_at")

NEEDED = "this is needed"

NOT_A_DATE = "this is not a date and a time such as 2026-11-29T10:30 (found {found})"

PLAINLY = {
    "float_parsing": "this is not a number such as 1.5 (found {found})",
    "int_parsing": "this is not a whole number such as 3 (found {found})",
    "datetime_from_date_parsing": NOT_A_DATE,
    "datetime_parsing": NOT_A_DATE,
    "timezone_naive": NOT_A_DATE,
    "too_long": "these are {actual_length:,}, and one rule takes {max_length:,}: write several rules",
    "too_short": "{found} has no value: write it as name=value",
}
"""pydantic's kind of problem -> what to say of it."""

TOGETHER = {
    "price_min ": ("price_min", "the lowest price is above the highest: nothing can meet both"),
    "ends_at ": ("ends_at", "the end is not after the start"),
    "give items or where": ("items", "name at least one item"),
}
"""How it is told that values do not fit together -> the field where that is shown, and what to say there."""

SHOWN_AT = frozenset({"items", "where", "by", "place"})
"""Fields that a message about the whole rule may begin with."""

LONGEST_FOUND = 60
"""Characters of a wrong value that are shown."""


@dataclass(frozen=True)
class Draft:
    """What stands in the fields."""

    name: str = ""
    action: str = "boost"
    about: str = "where"
    """`items` or `where`: which of the two the rule is about. A pin is about items."""
    items: str = ""
    categories: str = ""
    brands: str = ""
    price_min: str = ""
    price_max: str = ""
    attributes: str = ""
    without_categories: str = ""
    without_brands: str = ""
    by: str = "1"
    place: str = "1"
    placements: tuple[str, ...] = ()
    """None: all slates."""
    starts_at: str = ""
    ends_at: str = ""

    @classmethod
    def of_form(cls, form: FormData) -> "Draft":
        """As it was sent."""
        typed = {one.name: field(form, one.name) for one in fields(cls)}
        chosen = tuple(one for one in form.getlist("placements") if isinstance(one, str))
        return cls(**typed | {"placements": chosen})  # type: ignore[arg-type]

    @classmethod
    def of_rule(cls, rule: Rule) -> "Draft":
        """The draft that makes this rule."""
        where = rule.where or Condition()
        return cls(
            name=rule.name,
            action=rule.action,
            about="items" if rule.where is None else "where",
            items=write_ids(rule.items),
            **{name: _lines(getattr(where, name)) for name in LISTS},
            **{name: _number(getattr(where, name)) for name in BOUNDS},
            attributes=_pairs(where.attributes),
            by=_number(rule.by) or cls.by,
            place=_number(rule.place) or cls.place,
            placements=rule.placements,
            **{name: _moment(getattr(rule, name)) for name in DATES},
        )

    @property
    def names_items(self) -> bool:
        """Whether it is about items by their ids."""
        return self.action == "pin" or self.about == "items"

    def checked(self) -> tuple[Rule | None, dict[str, str]]:
        """The rule, or None and what is wrong: field -> message."""
        try:
            return Rule.model_validate(self._said()), {}
        except ValidationError as error:
            found = [self._problem(one) for one in error.errors(include_url=False)]
            return None, dict(reversed(found))

    def _said(self) -> dict[str, Any]:
        """As the API takes a rule. Fields that the action does not need are left out."""
        said: dict[str, Any] = {
            "name": self.name,
            "action": self.action,
            "placements": list(self.placements),
        }
        said |= {"items": read_ids(self.items)} if self.names_items else {"where": self._where()}
        if self.action in SCORED:
            said["by"] = self.by
        if self.action == "pin":
            said["place"] = self.place
        typed = {name: getattr(self, name) for name in DATES}
        return said | {name: f"{text}Z" for name, text in typed.items() if text}

    def _where(self) -> dict[str, Any]:
        typed = asdict(self)
        where: dict[str, Any] = {name: _read_lines(typed[name]) for name in LISTS}
        where |= {name: typed[name] for name in BOUNDS if typed[name]}
        return where | {"attributes": _read_pairs(self.attributes)}

    def _problem(self, problem: ErrorDetails) -> tuple[str, str]:
        """The field it is about, and what to say."""
        at = [str(part) for part in problem["loc"] if part != "where"]
        if at:
            return at[0], _told(problem)
        message = problem["msg"].removeprefix("Value error, ")
        for begins, said in TOGETHER.items():
            if message.startswith(begins):
                return said
        name, colon, rest = message.partition(": ")
        return (name, rest) if colon and name in SHOWN_AT else ("where", message)


def write_ids(ids: Iterable[str]) -> str:
    """What `read_ids` reads."""
    return _lines(ids, commas=True)


def read_ids(text: str) -> list[str]:
    """Ids, one per line or separated by commas."""
    return _read_lines(text, commas=True)


def _told(problem: ErrorDetails) -> str:
    found = repr(problem["loc"][-1] if problem["type"] == "too_short" else problem["input"])
    found = found.removesuffix("Z'") + "'" if problem["type"].startswith("datetime") else found
    if problem["input"] == "":
        return NEEDED
    plain = PLAINLY.get(problem["type"], "")
    if plain:
        return plain.format(found=found[:LONGEST_FOUND], **problem.get("ctx", {}))
    message = problem["msg"].removeprefix("Value error, ")
    message = message.replace("Input should", "this should").replace("String should", "this should")
    return f"{message} (found {found[:LONGEST_FOUND]})"


def _lines(values: Iterable[str], commas: bool = False) -> str:
    return "\n".join(_plain(value, "," if commas else "") for value in values)


def _plain(value: str, mark: str) -> str:
    """A value as a line holds it. mark: a character that would end it."""
    stands = value == value.strip() and value.isprintable() and value[:1] != '"'
    return value if stands and not (mark and mark in value) else json.dumps(value)


def _read_lines(text: str, commas: bool = False) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    found = [value for line in lines for value in _of_line(line, commas)]
    return list(dict.fromkeys(value for value in found if value))


def _of_line(line: str, commas: bool) -> Sequence[str]:
    quoted, rest = _quoted(line)
    if quoted is not None and not rest:
        return [quoted]
    return [part.strip() for part in line.split(",")] if commas else [line]


def _quoted(line: str) -> tuple[str | None, str]:
    """The value in double quotes at the start of a line, and what comes behind it; None: there is none."""
    if not line.startswith('"'):
        return None, line
    try:
        value, end = json.JSONDecoder().raw_decode(line)
    except ValueError:
        return None, line
    return (value, line[end:].strip()) if is_text(value) else (None, line)


def _pairs(attributes: Mapping[str, Sequence[str]]) -> str:
    pairs = [(name, value) for name, values in attributes.items() for value in values]
    return "\n".join(f"{_plain(name, '=')}={_plain(value, '')}" for name, value in pairs)


def _read_pairs(text: str) -> dict[str, list[str]]:
    """`name=value` on each line; a name without a value has none."""
    found: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, rest = _quoted(line)
        if name is None:
            name, equals, value = line.partition("=")
        else:
            _, equals, value = rest.partition("=")
        values = found.setdefault(name.strip(), [])
        values += [_quoted(value.strip())[0] or value.strip()] if equals and value.strip() else []
    return found


def _number(value: float | None) -> str:
    return "" if value is None else repr(value).removesuffix(".0")


def _moment(value: datetime | None) -> str:
    """In UTC, as such a field of a form holds it: to the minute, or as finely as it is."""
    if value is None:
        return ""
    parts = "minutes" if not value.second else "seconds"
    return value.replace(tzinfo=None).isoformat(
        timespec="milliseconds" if value.microsecond else parts
    )
