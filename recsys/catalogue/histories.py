"""What somebody did last: the read that every request for a slate waits for.

The statement is SQLAlchemy's, made once for each engine; it is then run by the database's own driver, since all
that SQLAlchemy does around a statement would take several times as long as the read itself.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Engine,
    PoolProxiedConnection,
    bindparam,
    select,
    type_coerce,
)

from recsys.catalogue.database import failed
from recsys.catalogue.events import EVENTS
from recsys.identity import ItemId

MAPPED = 1 << 36
"""Bytes of the database that SQLite may read where the system holds them, once for all connections."""

OWNERS = ("user_id", "session_id")


Told = tuple[ItemId, str, float | None, int]
"""What an event says of a taste: the item, the type, the value, and the moment in microseconds since the epoch."""


class Wanted(NamedTuple):
    """What is read of an owner's events."""

    limit: int
    types: tuple[str, ...]
    """Only these; none: all."""
    arrivals: bool
    """Whether the place in the order of arrival is told as well."""


@dataclass(frozen=True, eq=False)
class Histories:
    """The newest events of users and sessions in one database. Thread-safe."""

    engine: Engine
    _statements: dict[tuple[str, Wanted], str] = field(default_factory=dict)
    _kept: threading.local = field(default_factory=threading.local)
    """A connection to SQLite for each thread: to take one from the pool would cost more than the read."""

    def newest(
        self,
        user_id: str | None,
        session_id: str | None,
        limit: int,
        types: Collection[str] = (),
    ) -> list[Told]:
        """The newest events of the user or of the session, newest first; only of these types if given.

        One indexed read of at most `limit` rows for each of the two that is given; an event that belongs to both
        comes once. Raises DatabaseError.
        """
        owners = zip(OWNERS, (user_id, session_id), strict=True)
        given = [(column, owner) for column, owner in owners if owner is not None]
        if not given:
            return []
        wanted = Wanted(limit, tuple(types), len(given) > 1)
        try:
            if self._in_process:
                read = [self._read(self._own(), *one, wanted) for one in given]
            else:
                with closing(self.engine.raw_connection()) as connection:
                    read = [self._read(connection, *one, wanted) for one in given]
        except self.engine.dialect.loaded_dbapi.Error as error:
            raise failed(self.engine, error) from None
        if len(read) == 1:
            return read[0]
        distinct = {row[-1]: row for some in read for row in some}
        rows = sorted(distinct.values(), key=lambda row: row[-2:], reverse=True)[:limit]
        return [row[:-1] for row in rows]

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Several reads of one moment: SQLite locks the database once for all of them. Raises DatabaseError."""
        if not self._in_process:
            yield
            return
        try:
            own = self._own()
            own.execute("BEGIN")
            try:
                yield
            finally:
                if own.in_transaction:
                    own.rollback()  # nothing was written
        except sqlite3.Error as error:
            raise failed(self.engine, error) from None

    @property
    def _in_process(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    def _own(self) -> sqlite3.Connection:
        """This thread's connection, which reads what others have committed by then, out of their memory."""
        kept: sqlite3.Connection | None = getattr(self._kept, "connection", None)
        if kept is None:
            pooled = self.engine.raw_connection()
            kept = self._kept.connection = cast(sqlite3.Connection, pooled.driver_connection)
            pooled.detach()
            kept.execute(f"PRAGMA mmap_size = {MAPPED}")
            kept.execute("PRAGMA cache_size = -2000")
        return kept

    def _read(
        self,
        connection: PoolProxiedConnection | sqlite3.Connection,
        column: str,
        owner: str,
        wanted: Wanted,
    ) -> list[Any]:
        """Rows of what was told, and of its arrival if asked for."""
        statement = self._statements.get((column, wanted))
        if statement is None:
            statement = self._statements[column, wanted] = self._compiled(column, wanted)
        with closing(connection.cursor()) as cursor:
            cursor.execute(
                statement, (owner,) if self.engine.dialect.positional else {"owner": owner}
            )
            return list(cursor.fetchall())

    def _compiled(self, column: str, wanted: Wanted) -> str:
        """A statement of one parameter, the owner."""
        event = EVENTS.c
        told = (event.item_id, event.type, event.value, type_coerce(event.time, BigInteger))

        def fixed(value: str | int) -> BindParameter[Any]:
            return bindparam(None, value, literal_execute=True)

        newest = (
            select(*told, *([event.arrival] if wanted.arrivals else []))
            .where(event[column] == bindparam("owner", ""))
            .order_by(event.time.desc(), event.arrival.desc())
            .limit(fixed(wanted.limit))
            .offset(fixed(0))
        )
        if wanted.types:
            newest = newest.where(event.type.in_([fixed(name) for name in wanted.types]))
        in_full = {"render_postcompile": True}
        return str(newest.compile(dialect=self.engine.dialect, compile_kwargs=in_full))
