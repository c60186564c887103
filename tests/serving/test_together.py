"""Requests that come at the same time are answered together: nobody notices but the clock."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from apis import Api

from recsys.errors import UnknownItem
from recsys.ranking.candidates import Query
from recsys.ranking.viewer import Viewer
from recsys.serving.app import create_app
from recsys.serving.live import Served
from recsys.serving.together import Answered, Wish


def wished(served: Served, who: Viewer) -> Query:
    return Query(at=served.manifest.built_at, limit=5, history=who.history, seen=who.seen)


def refused(served: Served, who: Viewer) -> Query:
    raise UnknownItem("there is no such thing")


def asked_at_once(api: Api, *wishes: Wish) -> list[Answered | BaseException]:
    """What becomes of wishes of one moment."""

    async def ask() -> list[Answered | BaseException]:
        app = create_app(api.settings)
        async with app.router.lifespan_context(app):
            together = app.state.services.together
            return await asyncio.gather(*map(together.ask, wishes), return_exceptions=True)

    return asyncio.run(ask())


def test_what_comes_at_one_moment_is_answered_together(shared: Api) -> None:
    found = asked_at_once(shared, *[Wish((user, None), wished) for user in ("1", "2", "3", "42")])
    pieces = [one.page.pieces[0] for one in found]
    assert {id(slates) for slates, _, _ in pieces} == {id(pieces[0][0])}
    assert [n for _, n, _ in pieces] == [0, 1, 2, 3]
    for one, (slates, n, _) in zip(found, pieces, strict=True):
        alone = one.served.recommender.recommend(one.question)
        assert slates.slate(n) == alone
        assert (
            one.page.items
            == one.served.recommender.items.ids.ordinals(
                [place.item for place in alone.items]
            ).tolist()
        )


def test_what_is_wrong_with_one_is_not_for_the_others_to_bear(shared: Api) -> None:
    good, bad = Wish(("1", None), wished), Wish(("2", None), refused)
    found = asked_at_once(shared, good, good, bad, good)
    assert [type(one) for one in found] == [Answered, Answered, UnknownItem, Answered]
    assert found[1].page.text == found[3].page.text


@pytest.mark.parametrize("users", [24])
def test_a_crowd_gets_what_each_gets_alone(shared: Api, users: int) -> None:
    asked = [
        (f"/v1/users/{n % 12}/recommendations", {"limit": 5, "diversity": 0.3 * (n % 2)} | more)
        for n in range(users)
        for more in ({}, {"category": "Crime"}, {"exclude": "296"})
    ]
    asked += [(f"/v1/items/{item}/similar", {"limit": 4}) for item in ("296", "50", "space-1")] * 4
    alone = [shared.ids(path, **params) for path, params in asked]
    with ThreadPoolExecutor(16) as crowd:
        together = list(crowd.map(lambda one: shared.ids(one[0], **one[1]), asked))
    assert together == alone
