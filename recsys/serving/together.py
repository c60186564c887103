"""Requests that come at the same time are answered as one block.

    a request -> Wish -> those who wait -> histories, queries, slates, their words -> Answered

Each step of a request meets caches that hold something else; several requests that take each step one after the
other share what it costs to begin it. Nobody waits for company: what has come in while others were answered is
answered next.
"""

from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

from recsys.catalogue.histories import Histories
from recsys.ranking.block import TOGETHER, Block, alike
from recsys.ranking.candidates import Query
from recsys.ranking.viewer import Viewer
from recsys.serving.live import Live, Served
from recsys.serving.paging import Page, whole
from recsys.serving.viewers import Who, stored, viewers

LOOKS = 3
"""Turns of the event loop, at most, in which others may join: what has been sent takes two to get here."""


class Wish(NamedTuple):
    """What a request wants."""

    who: Who
    make: Callable[[Served, Viewer], Query]
    """May take a while: called when it is the request's turn."""


class Answered(NamedTuple):
    """A query, and its slate as the page that is shown."""

    served: Served
    question: Query
    page: Page


Outcome = Answered | Exception


class Together:
    """Those who wait for a slate in one event loop."""

    def __init__(self, live: Live, histories: Histories) -> None:
        self._live, self._histories = live, histories
        self._waiting: list[tuple[Wish, Future[Answered]]] = []

    async def ask(self, wish: Wish) -> Answered:
        """The slate that is wanted. Raises what `make` raises, and what the snapshot and the database do."""
        loop = get_running_loop()
        future: Future[Answered] = loop.create_future()
        self._waiting.append((wish, future))
        if len(self._waiting) == 1:
            loop.call_soon(self._look, loop, 0, LOOKS)
        return await future

    def _look(self, loop: AbstractEventLoop, known: int, left: int) -> None:
        """Wait another turn as long as others come, then answer."""
        if left and known < len(self._waiting) < TOGETHER:
            loop.call_soon(self._look, loop, len(self._waiting), left - 1)
            return
        now, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
        if self._waiting:
            loop.call_soon(self._look, loop, 0, LOOKS)
        now = [(wish, future) for wish, future in now if not future.done()]  # some have gone
        outcomes = self._answers([wish for wish, _ in now])
        for (_, future), outcome in zip(now, outcomes, strict=True):
            if isinstance(outcome, Answered):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

    def _answers(self, wishes: Sequence[Wish]) -> list[Outcome]:
        """All from one snapshot. What goes wrong with one of them is not for the others to bear."""
        try:
            served = self._live.served()
            named = sum(owner is not None for wish in wishes for owner in wish.who)
            with self._histories.at_once() if named > 1 else nullcontext():
                told = [stored(served, self._histories, wish.who) for wish in wishes]
            made = zip(wishes, viewers(served, told), strict=True)
            questions = [wish.make(served, viewer) for wish, viewer in made]
            found: dict[int, Answered] = {}
            for places in alike(questions):
                block = [questions[place] for place in places]
                pages = whole(served.recommender.answer(Block(block)))
                for place, page in zip(places, pages, strict=True):
                    found[place] = Answered(served, questions[place], page)
            return [found[place] for place in range(len(wishes))]
        except Exception as error:
            if len(wishes) == 1:
                return [error]
            return [outcome for wish in wishes for outcome in self._answers([wish])]
