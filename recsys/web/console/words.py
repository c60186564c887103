"""Figures and moments in words, as pages show them."""

import re
from datetime import UTC, datetime

MINUS, PERCENT = re.compile(r"(?<!\w)-(?=\d)"), re.compile(r"(?<=\d) ?%")

UNITS = ((31_557_600, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def counted(number: float) -> str:
    """12,345"""
    return f"{number:,.0f}"


def share(number: float, digits: int = 1) -> str:
    """12.3 %"""
    return typeset(f"{number:.{digits}%}")


def typeset(text: str) -> str:
    """Figures as they are printed: with a true minus sign, and a narrow space before the percent sign."""
    return PERCENT.sub("\N{NARROW NO-BREAK SPACE}%", MINUS.sub("\N{MINUS SIGN}", text))


def moment(when: datetime | None) -> str:
    """2026-11-29 09:30 UTC; a dash where there is none."""
    return "\N{EN DASH}" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def ago(when: datetime | None, now: datetime) -> str:
    """3 hours ago; "never" where it was not."""
    if when is None:
        return "never"
    seconds = (now - when).total_seconds()
    if seconds < 1:
        return "just now"
    length, unit = next(one for one in UNITS if seconds >= one[0])
    number = int(seconds // length)
    return f"{number:,} {unit}{'' if number == 1 else 's'} ago"


def lasted(seconds: float) -> str:
    """8.3 s; 1 min 12 s; 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
