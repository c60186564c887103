"""The slates of the last batch run, for those who would rather read a table than call an API."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import cast

from sqlalchemy import Connection, Table, delete

from recsys.catalogue.database import insert_into
from recsys.catalogue.tables import RecommendationRow

RECOMMENDATIONS = cast(Table, RecommendationRow.__table__)

USERS = 1_000
"""Users deleted in one statement: databases limit the number of parameters."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One place of a user's slate; `rank` counts from 1."""

    user_id: str
    rank: int
    item_id: str
    score: float
    reason: str
    snapshot: str


def replace_recommendations(
    connection: Connection, users: Sequence[str], rows: Sequence[Recommendation]
) -> None:
    """These users get these rows, perhaps none, and keep no older ones; other users stay as they are."""
    for start in range(0, len(users), USERS):
        some = users[start : start + USERS]
        connection.execute(delete(RECOMMENDATIONS).where(RECOMMENDATIONS.c.user_id.in_(some)))
    if rows:
        insert = insert_into(connection, RECOMMENDATIONS)
        key = ("user_id", "rank")
        changes = {c.name: c for c in insert.excluded if c.name not in key}
        upsert = insert.on_conflict_do_update(index_elements=key, set_=changes)
        connection.execute(upsert, [asdict(row) for row in rows])
