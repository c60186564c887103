"""The database: SQLite beside the data by default, PostgreSQL by one URL; made by the migrations.

with writing(engine) as connection:      # one transaction: all of it, or nothing
    upsert_items(connection, items, now)
"""

# ruff: noqa: PLC0415  alembic takes half a second to import: a database that is up to date needs none of it

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import orjson
from sqlalchemy import (
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError
from sqlalchemy.exc import DatabaseError as DriverError

import recsys
from recsys.config import Settings
from recsys.errors import DatabaseError

if TYPE_CHECKING:
    from alembic.config import Config

BUSY_SECONDS = 30
"""How long a writer of SQLite waits for another one, unless told otherwise."""

MIGRATION_LOCK = 0x72656373
"""Key of the PostgreSQL advisory lock that lets one process migrate at a time."""


def connect(settings: Settings, busy_seconds: float = BUSY_SECONDS) -> Engine:
    """An engine on a database that answers. Makes the folder of an SQLite file.

    A writer waits `busy_seconds` for another writer of SQLite; PostgreSQL's wait only for the same rows.
    Raises DatabaseError, without the password, when the URL is wrong or nobody answers.
    """
    url = _url(settings)
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and url.database:
        _make_folder(Path(url.database).parent)
    engine = create_engine(
        url,
        connect_args={"timeout": busy_seconds} if is_sqlite else {},
        pool_size=8,
        max_overflow=32,
        pool_pre_ping=not is_sqlite,
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
    )
    if is_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    with _translated(engine), engine.connect():
        return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection to look things up by; nothing is kept of what it writes."""
    with _translated(engine), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection in one transaction: committed at the end, rolled back if anything is raised.

    On SQLite it is the only writer from its start, so what it reads still holds when it writes.
    """
    locking = engine.execution_options(begin="IMMEDIATE")
    with _translated(engine), locking.begin() as connection:
        yield connection


@contextmanager
def writing_by_driver(engine: Engine) -> Iterator[sqlite3.Connection]:
    """The same for SQLite by its own driver: what else is done around a small write takes longer than the write."""
    try:
        with closing(engine.raw_connection()) as pooled:
            own = cast(sqlite3.Connection, pooled.driver_connection)
            own.execute("BEGIN IMMEDIATE")
            try:
                yield own
                own.execute("COMMIT")
            finally:
                if own.in_transaction:
                    own.rollback()
    except (sqlite3.DataError, sqlite3.IntegrityError):
        raise
    except sqlite3.Error as error:
        raise failed(engine, error) from None


def migrate(engine: Engine) -> None:
    """Bring the database to this version's schema, in one transaction; a current one is left as it is."""
    from alembic import command

    locking = engine.execution_options(begin="IMMEDIATE")
    with _translated(engine), locking.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        config = _alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check_schema(engine: Engine) -> None:
    """Raises DatabaseError unless the database has this version's schema."""
    with _translated(engine), engine.connect() as connection:
        found = _revision(connection)
    known, needed = _revisions()
    if found == needed:
        return
    where = engine.url.render_as_string(hide_password=True)
    if found is not None and found not in known:
        raise DatabaseError(
            f"{where}: found schema revision {found}, which is newer than this version's {needed}: "
            "upgrade recsys"
        )
    raise DatabaseError(
        f"{where}: found schema revision {found or 'none'}, this version needs {needed}: "
        "run `recsys migrate`"
    )


def insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ON CONFLICT, in the connection's dialect."""
    is_sqlite = connection.dialect.name == "sqlite"
    return sqlite.insert(table) if is_sqlite else postgresql.insert(table)


def _url(settings: Settings) -> URL:
    try:
        url = make_url(settings.database_url)
    except ArgumentError:
        raise DatabaseError(
            "database.url is not a URL: write it like postgresql+psycopg://user:password@host/name"
        ) from None
    if url.get_backend_name() == "postgres":
        url = url.set(drivername="postgresql")
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise DatabaseError(
            f"database.url: {url.drivername} is not supported: sqlite or postgresql is"
        )
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"the database's folder {folder} cannot be made: {error}") from None


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Leave BEGIN to `_begin_sqlite`: sqlite3's own would come too late, and not at all for DDL."""
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        "cache_size = -64000",  # KiB; the default of 2 MB makes large indexes crawl
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    kind = connection.get_execution_options().get("begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    """The driver's troubles as DatabaseError. Its message names host and database, not the password."""
    try:
        yield
    except (DataError, IntegrityError):  # the data's fault, not the database's
        raise
    except DriverError as error:
        raise failed(engine, error.orig) from None


def failed(engine: Engine, error: BaseException | None) -> DatabaseError:
    """What to tell of a driver's error."""
    where = engine.url.render_as_string(hide_password=True)
    return DatabaseError(f"{where}: {error}: {advice(error)}")


def advice(error: BaseException | None) -> str:
    """What to do about a driver's error. The low byte of SQLite's code is the kind of trouble, the rest a detail."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
        return "another process is writing: try again"
    return "check database.url and the server, and that `recsys migrate` was run"


def _revision(connection: Connection) -> str | None:
    """The revision of a database; None where it was never migrated."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _revisions() -> tuple[set[str], str]:
    """All revisions that this version knows, and the newest, as the migrations' files say."""
    said = re.compile(r'^(?:down_)?revision = (?:"(\w+)"|None)$', re.MULTILINE)
    files = (path.read_text("utf-8") for path in (_migrations() / "versions").glob("*.py"))
    pairs = dict(said.findall(file) for file in files)
    (newest,) = pairs.keys() - pairs.values()
    return set(pairs), newest


def _alembic() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    return config


def _migrations() -> Path:
    """They travel inside the wheel; a checkout has them in its top-level folder."""
    package = Path(recsys.__file__).parent
    installed = package / "_alembic"
    return installed if installed.is_dir() else package.parent / "alembic"
