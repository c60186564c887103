"""Items, events and recommendations.

Revision 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
ARRIVAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "items",
        sa.Column("id", ID, nullable=False),
        sa.Column("title", sa.Text()),
        sa.Column("description", sa.Text()),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("brand", sa.Text()),
        sa.Column("price", sa.Double()),
        sa.Column("currency", sa.Text()),
        sa.Column("images", sa.JSON(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("available", sa.Boolean(), nullable=False),
        sa.Column("published_at", sa.BigInteger()),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_items"),
    )
    op.create_index("ix_items_updated_at", "items", ["updated_at"])
    op.create_table(
        "events",
        sa.Column("arrival", ARRIVAL, autoincrement=True, nullable=False),
        sa.Column("event_id", ID, nullable=False),
        sa.Column("user_id", ID),
        sa.Column("session_id", ID),
        sa.Column("item_id", ID, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("context", sa.JSON()),
        sa.CheckConstraint(
            "user_id IS NOT NULL OR session_id IS NOT NULL", name="ck_events_has_actor"
        ),
        sa.PrimaryKeyConstraint("arrival", name="pk_events"),
        sa.UniqueConstraint("event_id", name="uq_events_event_id"),
    )
    op.create_index("ix_events_user_id_time", "events", ["user_id", "time"])
    op.create_index("ix_events_session_id_time", "events", ["session_id", "time"])
    op.create_index("ix_events_time", "events", ["time"])
    op.create_table(
        "recommendations",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("item_id", ID, nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "rank", name="pk_recommendations"),
    )


def downgrade() -> None:
    op.drop_table("recommendations")
    op.drop_table("events")
    op.drop_table("items")
