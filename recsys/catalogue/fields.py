"""The kinds of values items and events are made of, and what is wrong with a value in plain words.

What passes here fits both databases: PostgreSQL holds no NUL characters, JSON holds no NaN, and its
integers beyond 64 bits come back as something else.
"""

import math
from collections.abc import Hashable, Iterable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    JsonValue,
    StringConstraints,
    ValidationError,
)
from pydantic_core import ErrorDetails

LONGEST_ID = 512
"""Characters. Four bytes each still fit into a PostgreSQL index entry."""

H = TypeVar("H", bound=Hashable)


class Model(BaseModel):
    """What people write: closed to unknown fields and to numbers that are not finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("holds a NUL character, which PostgreSQL cannot store: remove it")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("is not UTF-8 text: save the file as UTF-8") from None
    return text


def _text(text: str | None) -> str | None:
    return (_storable(text).strip() or None) if text else None


def _texts(texts: tuple[str, ...]) -> tuple[str, ...]:
    return distinct(text for text in map(_text, texts) if text)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is UTC:
        return moment
    if moment.utcoffset() is None:
        raise ValueError("has no time zone: write it like 2024-05-01T12:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999") from None


def storable_json(value: JsonValue) -> JsonValue:
    """Raises ValueError where a JSON column would lose or refuse something."""
    match value:
        case str():
            _storable(value)
        case float() if not math.isfinite(value):
            raise ValueError(f"holds {value}, which is not a number JSON knows: leave it out")
        case int() if not -(2**63) <= value < 2**63:
            raise ValueError("holds an integer beyond 64 bits: write it as a string")
        case list():
            for part in value:
                storable_json(part)
        case dict():
            for key, part in value.items():
                _storable(key)
                storable_json(part)
    return value


def _attributes(attributes: dict[str, JsonValue]) -> dict[str, JsonValue]:
    storable_json(attributes)
    return attributes


Id = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_ID), AfterValidator(_storable)
]
"""An outside id: any characters but NUL; spaces count."""

Text = Annotated[str | None, AfterValidator(_text)]
"""Text without the space around it; None when nothing is left."""

Texts = Annotated[tuple[str, ...], AfterValidator(_texts)]
"""Distinct, non-empty texts in the order given."""

Attributes = Annotated[dict[str, JsonValue], AfterValidator(_attributes)]

Moment = Annotated[datetime, AfterValidator(_utc)]
"""An aware datetime, kept in UTC."""


def distinct(values: Iterable[H]) -> tuple[H, ...]:
    """Each value once, in the order of first appearance."""
    return tuple(dict.fromkeys(values))


def explain(error: ValidationError) -> str:
    """What pydantic found, in one line: `price: Input should be ... (found -3)`."""
    return "; ".join(_one(problem) for problem in error.errors(include_url=False))


def _one(problem: ErrorDetails) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    what = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing" or not where:
        return f"{where}: {what}".removeprefix(": ")
    value = problem["input"]
    found = str(value) if isinstance(value, datetime) else repr(value)
    return f"{where}: {what} (found {found if len(found) <= 80 else found[:77] + '...'})"
