"""Moments: aware UTC datetimes at the edges, int64 microseconds since the epoch inside."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Microseconds since the epoch, exact. Raises ValueError for a naive datetime."""
    try:
        return (moment - EPOCH) // MICROSECOND
    except TypeError:  # how Python refuses to subtract an aware datetime from a naive one
        raise ValueError(f"{moment} has no time zone: pass an aware datetime") from None


def from_us(microseconds: int) -> datetime:
    """The aware UTC datetime. Raises ValueError outside the years 1 to 9999."""
    try:
        return EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise ValueError(f"{microseconds} microseconds is outside the years 1 to 9999") from None
