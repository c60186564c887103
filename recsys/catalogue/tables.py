"""The four tables: what exists, what happened, what merchandisers say, and the slates of the last batch run."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from recsys.catalogue.times import from_us, to_us


class UtcTime(TypeDecorator[datetime]):
    """Aware UTC datetimes, stored as microseconds since the epoch. Refuses naive ones."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the database."""
        return None if value is None else to_us(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return None if value is None else from_us(value)


ID = Text().with_variant(Text(collation="C"), "postgresql")
"""An outside id. Both databases order it by code point, as Python does."""

ARRIVAL = BigInteger().with_variant(Integer, "sqlite")
"""Counts up by itself on both databases (SQLite does so for plain INTEGER keys only)."""


class Base(DeclarativeBase):
    """Every constraint has a name, so that a migration can name it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ItemRow(Base):
    """An item, or the tombstone of one (`deleted_at` is set)."""

    __tablename__ = "items"
    __table_args__ = (Index(None, "updated_at"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    title: Mapped[str | None] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    categories: Mapped[list[str]] = mapped_column(JSON)
    brand: Mapped[str | None] = mapped_column(Text)
    price: Mapped[float | None] = mapped_column(Double)
    currency: Mapped[str | None] = mapped_column(Text)
    images: Mapped[list[str]] = mapped_column(JSON)
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON)
    available: Mapped[bool]
    published_at: Mapped[datetime | None] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)


ONLY = "only"
"""In an index's `info`: the dialect of the databases that have it."""


def is_had(dialect: str, part: object) -> bool:
    """Whether databases of this dialect have a part of the schema."""
    return not isinstance(part, Index) or part.info.get(ONLY, dialect) == dialect


TOLD = ("time", "arrival", "item_id", "type", "value")
"""What the read of a history asks for. SQLite finds it in the index; an entry of PostgreSQL's is too small for ids."""


def _of_histories(owner: str) -> tuple[Index, Index]:
    return (
        Index(None, owner, "time", info={ONLY: "postgresql"}),
        Index(None, owner, *TOLD, sqlite_where=text(f"{owner} IS NOT NULL"), info={ONLY: "sqlite"}),
    )


class EventRow(Base):
    """Something that happened. `item_id` is no foreign key: an event may arrive before its item."""

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("user_id IS NOT NULL OR session_id IS NOT NULL", name="has_actor"),
        *_of_histories("user_id"),
        *_of_histories("session_id"),
        Index(None, "time"),
    )

    arrival: Mapped[int] = mapped_column(ARRIVAL, primary_key=True, autoincrement=True)
    event_id: Mapped[str] = mapped_column(ID, unique=True)
    user_id: Mapped[str | None] = mapped_column(ID)
    session_id: Mapped[str | None] = mapped_column(ID)
    item_id: Mapped[str] = mapped_column(ID)
    type: Mapped[str] = mapped_column(Text)
    value: Mapped[float | None] = mapped_column(Double)
    time: Mapped[datetime] = mapped_column(UtcTime)
    context: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class RuleRow(Base):
    """What a merchandiser says of some items. An id is never used again: it tells the age, and what was changed."""

    __tablename__ = "rules"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(ARRIVAL, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    items: Mapped[list[str]] = mapped_column(JSON)
    where: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    by: Mapped[float | None] = mapped_column(Double)
    place: Mapped[int | None] = mapped_column(Integer)
    placements: Mapped[list[str]] = mapped_column(JSON)
    starts_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ends_at: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)


class RecommendationRow(Base):
    """One place of a user's slate from the last batch run."""

    __tablename__ = "recommendations"

    user_id: Mapped[str] = mapped_column(ID, primary_key=True)
    rank: Mapped[int] = mapped_column(Integer, primary_key=True)
    item_id: Mapped[str] = mapped_column(ID)
    score: Mapped[float] = mapped_column(Double)
    reason: Mapped[str] = mapped_column(Text)
    snapshot: Mapped[str] = mapped_column(Text)
