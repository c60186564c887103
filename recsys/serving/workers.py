"""Several processes answer on one socket, and hold one snapshot between them; one more encodes texts, one refreshes.

The parent loads the snapshot and then forks: what no child writes to is in memory once. It answers nothing itself.
A child that dies is replaced; each finds newer snapshots by itself. Were the parent killed, its children would end
as well.
"""

import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI

from recsys.forks import Lifeline
from recsys.refresh import Refresher, Watch, keep_fresh
from recsys.serving.encoding import Reading, Shared
from recsys.serving.slates import Services

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""Before a child that died is replaced: one that cannot start must not keep the machine busy."""

STOPS = (signal.SIGTERM, signal.SIGINT)

NICENESS = 5
"""Of the process that refreshes: those who answer come first."""

Duty = Callable[[], None]
"""What a child does until it is told to stop."""


def run(application: FastAPI, encoding: Shared, listening: socket.socket, workers: int) -> None:
    """Answer in so many processes until told to stop (SIGTERM, SIGINT).

    Others encode and refresh, if that is set.
    """
    services: Services = application.state.services
    services.live.prepare()
    services.engine.dispose()  # a connection belongs to one process
    gc.freeze()  # the collector would write to every object that the processes share
    gc.enable()
    encode = partial(_encode, encoding)
    waiting: list[Duty] = []
    if services.settings.serving.refresh_seconds:
        waiting.append(partial(_refresh, services))
    waiting.append(encode)
    waiting += [partial(_answer, application, listening)] * workers  # they come first
    asked_to_stop = False
    running: dict[int, Duty] = {}
    lifeline = Lifeline()

    def others() -> list[int]:
        """All but who encodes: it ends last, so that whoever waits for it gets an answer."""
        return [child for child, duty in running.items() if duty is not encode]

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True
        for child in others():
            os.kill(child, number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not asked_to_stop or others():
        while not asked_to_stop and waiting:
            begun = waiting.pop()
            with _undisturbed():  # a child that nobody knows of yet would not be told to stop
                running[_forked(begun, lifeline)] = begun
        ended, status = os.wait()
        duty = running.pop(ended, None)
        if duty is None:
            continue  # as the first process of a container, it inherits what its children left behind
        if not asked_to_stop:
            log.error("process %d ended with %d: it is replaced", ended, status)
            waiting.append(duty)
            time.sleep(PAUSE_SECONDS)
    for child in running:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)


def _answer(application: FastAPI, listening: socket.socket) -> None:
    uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False)).run(
        sockets=[listening]
    )


def _encode(encoding: Shared) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    encoding.answer()


def _refresh(services: Services) -> None:
    """In a process of its own: work in a thread would hold up the requests of its process by the interpreter's lock."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    every, counted = services.settings.serving.refresh_seconds, services.metrics
    read = partial(Reading, services.searching.encoding)
    refresher = Refresher(services.engine, services.settings, read)
    keep_fresh(refresher, every, Watch(counted.refreshes.inc, counted.refreshes_failed.inc))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Whoever wants to stop this process meanwhile is heard at the end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _forked(duty: Duty, lifeline: Lifeline) -> int:
    """Call while undisturbed: the parent's way to stop is not the child's, not even for a moment."""
    child = os.fork()
    if child:
        return child
    lifeline.hang_on()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    code = 1
    try:
        duty()
        code = 0
    finally:
        os._exit(code)  # what the parent would do at its end is not for a child to do
