"""Users one may look at the shop as: some that are known, and what each of them likes more than others do."""

from collections import Counter
from typing import NamedTuple, cast

import pyarrow as pa

from recsys.catalogue.database import reading
from recsys.catalogue.events import some_users
from recsys.catalogue.item_table import ItemTable
from recsys.identity import Ordinals
from recsys.serving.live import Served
from recsys.serving.slates import Services
from recsys.serving.viewers import viewer

SUGGESTED, LOOKED_AT = 6, 12
"""Users that are suggested, and those of whom they are chosen: the ones of whom something is known."""

KINDS = 2
"""Categories by which a taste is told."""

USUAL = 0.03
"""Added to the share of a category among all items: a rare one is no taste because of one item."""


class Person(NamedTuple):
    """A known user."""

    user_id: str
    taste: str
    """The categories they are drawn to; "" where items have none."""


def initials(user_id: str) -> str:
    """What stands for a user where there is little room: of a number its end, by which numbers differ."""
    if len(user_id) <= 3:
        return user_id
    return user_id[-2:] if user_id.isdecimal() else user_id[:2]


def people(served: Served, within: Services) -> list[Person]:
    """Some users with a history, by id."""
    with reading(within.engine) as connection:
        known = some_users(connection, LOOKED_AT)
    found = []
    for user_id in known:
        history = viewer(served, within.histories, (user_id, None)).history
        liked = history.items[history.weights > 0]
        if len(liked):
            found.append(Person(user_id, _taste(liked, served.recommender.items)))
    return found[:SUGGESTED]


def _taste(liked: Ordinals, items: ItemTable) -> str:
    lists = cast(
        list[list[str]], items.data["categories"].take(pa.array(liked, pa.int64())).to_pylist()
    )
    own = Counter(name for some in lists for name in some)

    def drawn(name: str) -> float:
        usual = len(items.with_category(name)) / len(items)
        return own[name] / len(liked) / (usual + USUAL)

    return ", ".join(sorted(own, key=drawn, reverse=True)[:KINDS])
