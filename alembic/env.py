"""How Alembic reaches the database: over the caller's connection, else by the settings in force."""

from typing import Literal

from alembic import context
from sqlalchemy import Connection

from recsys.catalogue.database import connect
from recsys.catalogue.tables import Base, UtcTime, is_had
from recsys.config import load_settings


def render_plain(kind: str, value: object, _context: object) -> str | Literal[False]:
    """A migration must not change when our own types do."""
    return "sa.BigInteger()" if kind == "type" and isinstance(value, UtcTime) else False


def run(connection: Connection) -> None:
    dialect = connection.dialect.name
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,  # SQLite alters a table by making it anew
        render_item=render_plain,
        include_object=lambda part, *_: is_had(dialect, part),
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with connect(load_settings()).begin() as own:
        run(own)
