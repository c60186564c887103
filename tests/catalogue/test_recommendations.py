from sqlalchemy import Engine, select

from recsys.catalogue.database import reading, writing
from recsys.catalogue.recommendations import Recommendation, replace_recommendations
from recsys.catalogue.tables import RecommendationRow


def slate(user: str, *items: str, snapshot: str = "one") -> list[Recommendation]:
    return [
        Recommendation(user, rank, item, 1 / rank, "popular", snapshot)
        for rank, item in enumerate(items, start=1)
    ]


def stored(engine: Engine) -> list[tuple[str, int, str, str]]:
    row = RecommendationRow
    columns = select(row.user_id, row.rank, row.item_id, row.snapshot)
    with reading(engine) as connection:
        found = connection.execute(columns.order_by(row.user_id, row.rank)).all()
    return [tuple(line) for line in found]


def test_a_new_slate_replaces_the_users_old_one_whole_and_no_other(engine: Engine):
    with writing(engine) as connection:
        both = slate("ann", "a", "b", "c") + slate("bob", "a")
        replace_recommendations(connection, ["ann", "bob"], both)
    with writing(engine) as connection:
        replace_recommendations(connection, ["ann"], slate("ann", "c", "d", snapshot="two"))
        replace_recommendations(connection, [], [])
    assert stored(engine) == [
        ("ann", 1, "c", "two"),
        ("ann", 2, "d", "two"),
        ("bob", 1, "a", "one"),
    ]


def test_who_gets_nothing_keeps_nothing(engine: Engine):
    with writing(engine) as connection:
        replace_recommendations(connection, ["ann", "bob"], slate("ann", "a") + slate("bob", "a"))
    with writing(engine) as connection:
        replace_recommendations(connection, ["ann", "bob"], slate("bob", "b", snapshot="two"))
    assert stored(engine) == [("bob", 1, "b", "two")]
