"""Requests that come at the same time are answered as one block, in a thread beside the event loop.

    a request -> Wish -> those who wait -> the thread: histories, queries, slates -> Answered -> its words

Each step of a request meets caches that hold something else; several requests that take each step one after the
other share what it costs to begin it. Nobody waits for company: what comes in while the thread is at work is
answered next. Most of that work is done without the interpreter's lock, and meanwhile the event loop reads and
writes what others sent.
"""

from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from recsys.catalogue.histories import Histories
from recsys.ranking.block import TOGETHER, Block, alike
from recsys.ranking.candidates import Query
from recsys.ranking.slates import Slates
from recsys.ranking.viewer import Viewer
from recsys.serving.live import Live, Served
from recsys.serving.viewers import Who, stored, viewers


class Wish(NamedTuple):
    """What a request wants."""

    who: Who
    make: Callable[[Served, Viewer], Query]
    """Called in the thread."""


class Answered(NamedTuple):
    """A query, and its slate among others."""

    served: Served
    question: Query
    slates: Slates
    n: int


Outcome = Answered | Exception


class Together:
    """Those who wait for a slate in one event loop."""

    def __init__(self, live: Live, histories: Histories) -> None:
        self._live, self._histories = live, histories
        self._waiting: list[tuple[Wish, Future[Answered]]] = []
        self._at_work = False
        self._thread = ThreadPoolExecutor(1, "recsys-slates")

    async def ask(self, wish: Wish) -> Answered:
        """The slate that is wanted. Raises what `make` raises, and what the snapshot and the database do."""
        loop = get_running_loop()
        future: Future[Answered] = loop.create_future()
        self._waiting.append((wish, future))
        if not self._at_work:
            self._begin(loop)
        return await future

    def stop(self) -> None:
        """End the thread, once nobody waits."""
        self._thread.shutdown()

    def _begin(self, loop: AbstractEventLoop) -> None:
        """Hand those who wait to the thread."""
        now, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
        self._at_work = bool(now)
        if now:
            self._thread.submit(self._work, loop, now)

    def _work(
        self, loop: AbstractEventLoop, asked: Sequence[tuple[Wish, "Future[Answered]"]]
    ) -> None:
        """In the thread."""
        outcomes = self._answers([wish for wish, _ in asked])
        loop.call_soon_threadsafe(self._deliver, loop, asked, outcomes)

    def _deliver(
        self,
        loop: AbstractEventLoop,
        asked: Sequence[tuple[Wish, "Future[Answered]"]],
        outcomes: Sequence[Outcome],
    ) -> None:
        """First let the thread go on, then tell."""
        self._begin(loop)
        for (_, future), outcome in zip(asked, outcomes, strict=True):
            if future.done():  # the client has gone
                continue
            if isinstance(outcome, Answered):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

    def _answers(self, wishes: Sequence[Wish]) -> list[Outcome]:
        """All from one snapshot. What goes wrong with one of them is not for the others to bear."""
        try:
            served = self._live.served()
            told = [stored(served, self._histories, wish.who) for wish in wishes]
            made = zip(wishes, viewers(served, told), strict=True)
            questions = [wish.make(served, viewer) for wish, viewer in made]
            found: dict[int, Answered] = {}
            for places in alike(questions):
                block = [questions[place] for place in places]
                slates = served.recommender.answer(Block(block))
                for n, place in enumerate(places):
                    found[place] = Answered(served, questions[place], slates, n)
            return [found[place] for place in range(len(wishes))]
        except Exception as error:
            if len(wishes) == 1:
                return [error]
            return [outcome for wish in wishes for outcome in self._answers([wish])]
