from sqlalchemy import Engine, select

from recsys.catalogue.database import reading, writing
from recsys.catalogue.recommendations import Recommendation, replace_recommendations
from recsys.catalogue.tables import RecommendationRow


def slate(user: str, *items: str, snapshot: str = "one") -> list[Recommendation]:
    return [
        Recommendation(user, rank, item, 1 / rank, "popular", snapshot)
        for rank, item in enumerate(items, start=1)
    ]


def test_a_new_slate_replaces_the_users_old_one_whole_and_no_other(engine: Engine):
    with writing(engine) as session:
        replace_recommendations(session, slate("ann", "a", "b", "c") + slate("bob", "a"))
    with writing(engine) as session:
        replace_recommendations(session, slate("ann", "c", "d", snapshot="two"))
        replace_recommendations(session, [])
    row = RecommendationRow
    with reading(engine) as session:
        columns = select(row.user_id, row.rank, row.item_id, row.snapshot)
        found = session.execute(columns.order_by(row.user_id, row.rank)).all()
    assert [tuple(line) for line in found] == [
        ("ann", 1, "c", "two"),
        ("ann", 2, "d", "two"),
        ("bob", 1, "a", "one"),
    ]
