"""Values as feeds write them -> values as items and events hold them; None where a feed says nothing.

Every function raises ValueError, in words for the rejects file, for what it cannot read.
"""

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, cast

from recsys.catalogue.times import from_us

_NOTHING = {"", "nan", "none", "null", "n/a"}
"""Ways to write that there is no number, date or flag."""

_NO_CATEGORY = "(no genres listed)"
"""MovieLens' way to write that there is none."""

_YES = {"1", "1.0", "true", "t", "yes", "y", "available", "in stock", "instock", "in_stock"}
_NO = {"0", "0.0", "false", "f", "no", "n", "unavailable", "out of stock", "outofstock"}
_NO |= {"out_of_stock", "sold out", "discontinued"}

_PRICE = re.compile(
    r"(?:(?P<before>[A-Za-z]{3})\s*)?[$€£¥]?\s*"
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
    r"\s*(?:€|(?P<after>[A-Za-z]{3}))?"
)
_EPOCH = re.compile(r"-?\d{1,19}(?:\.\d*)?")
_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_QUOTED_LIST = re.compile(rf"\s*\[?\s*{_QUOTED}(?:\s*,\s*{_QUOTED})*\s*,?\s*\]?\s*", re.DOTALL)
_QUOTED_PART = re.compile(_QUOTED, re.DOTALL)
_URL_KEYS = ("url", "hi_res", "large", "thumb")
"""Where an image written as an object has its location, best first (Amazon's metadata)."""


def as_text(value: object) -> str | None:
    """Text as it stands; whole numbers without a decimal point; lists joined by ". "."""
    match value:
        case None | str():
            text = value
        case bool():
            text = "true" if value else "false"
        case float():
            text = None if math.isnan(value) else f"{value:.0f}" if value % 1 == 0 else str(value)
        case int() | Decimal() | date() | time():
            text = str(value)
        case list():
            text = ". ".join(filter(None, map(as_text, value)))
        case dict():
            text = json.dumps(value, ensure_ascii=False, default=str)
        case _:
            raise ValueError(f"found {type(value).__name__}, expected text")
    return text or None


def as_number(value: object) -> float | None:
    """NaN is None; infinite is refused."""
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever has no number raises TypeError
    except OverflowError:
        raise ValueError("found a number too large to use") from None
    except (ValueError, TypeError):
        if value is None or (isinstance(value, str) and value.strip().lower() in _NOTHING):
            return None
        raise ValueError(f"found {value!r}, expected a number") from None
    if math.isinf(number):
        raise ValueError("found an infinite number")
    return None if math.isnan(number) else number


def as_price(value: object) -> tuple[float | None, str | None]:
    """(price, currency): understands `12.5`, `$1,299.00` and `12.50 EUR`."""
    if not isinstance(value, str) or value.strip().lower() in _NOTHING:
        return as_number(value), None
    found = _PRICE.fullmatch(value.strip())
    if found is None:
        return as_number(value), None
    currency = found["before"] or found["after"]
    return float(found["number"].replace(",", "")), currency.upper() if currency else None


def as_flag(value: object) -> bool | None:
    """Yes or no: true, 1, yes, in stock, ... or their opposites."""
    text = (as_text(value) or "").strip().lower()
    if text in _NOTHING:
        return None
    if text in _YES or text in _NO:
        return text in _YES
    raise ValueError(f"found {value!r}, expected true or false")


def as_time(value: object) -> datetime | None:
    """ISO 8601 (UTC where no zone is given), or seconds, milliseconds or microseconds since the epoch.

    Which of the three is told by the size: numbers below 1e11 are seconds, below 1e14 milliseconds.
    """
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in _NOTHING:
            return None
        if not _EPOCH.fullmatch(text):
            return _iso(text.removesuffix(" UTC"))
        value = float(text) if "." in text else int(text)
    number = value if isinstance(value, int) else as_number(value)
    return None if number is None else from_us(_us(number))


def as_list(value: object, split: str) -> tuple[str, ...]:
    """Lists, nested or not; JSON and Python-like lists as text; else text cut at `split`."""
    if isinstance(value, str):
        value = list(_parts(value, split))
    parts = (part.strip() for part in _leaves(value))
    return tuple(part for part in parts if part not in {"", _NO_CATEGORY})


def as_json(value: object) -> object:
    """What JSON can hold, as it is; other kinds as text. Empty is None."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | dict):
        return json.loads(json.dumps(value, default=as_text)) or None
    return as_text(value)


def as_object(value: object) -> dict[str, Any] | None:
    """A JSON object, as such or as text."""
    found = value
    if isinstance(value, str) and value.strip():
        with suppress(ValueError, RecursionError):
            found = json.loads(value)
    if isinstance(found, dict) or not found:
        return cast(dict[str, Any], found) or None
    raise ValueError(f"found {value!r}, expected a JSON object")


def _iso(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"found {text!r}, expected a date and time (ISO 8601)") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _us(number: float) -> int:
    for limit, factor in ((1e11, 1_000_000), (1e14, 1_000), (1e17, 1)):
        if abs(number) < limit:
            return round(number * factor)
    raise ValueError(f"found {number!r}, which is no time since 1970 in any unit")


def _parts(text: str, split: str) -> Iterator[str]:
    if text.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            return _leaves(json.loads(text))
    if text.lstrip()[:1] in {"[", "'", '"'} and _QUOTED_LIST.fullmatch(text):
        quoted = (part[1:-1] for part in _QUOTED_PART.findall(text))
        return (re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in quoted)
    return iter(text.split(split))


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, dict):
        yield from [str(value[key]) for key in _URL_KEYS if value.get(key)][:1]
    elif text := as_text(value):
        yield text
