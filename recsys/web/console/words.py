"""Figures and moments in words, as pages show them."""

from datetime import UTC, datetime

UNITS = ((31_557_600, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def counted(number: float) -> str:
    """12,345"""
    return f"{number:,.0f}"


def share(number: float, digits: int = 1) -> str:
    """12.3 %"""
    return f"{number:.{digits}%}".replace("%", "\N{NARROW NO-BREAK SPACE}%")


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
