"""Several processes answer on one socket, and hold one snapshot between them.

The parent loads what there is to load and then forks: what no worker writes to is in memory once. It answers
nothing itself. A worker that dies is replaced; each finds newer snapshots by itself.
"""

import gc
import logging
import os
import signal
import socket
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""Before a worker that died is replaced: one that cannot start must not keep the machine busy."""


def run(application: FastAPI, listening: socket.socket) -> None:
    """Answer in this process until told to stop."""
    uvicorn.Server(uvicorn.Config(application, log_level="warning")).run(sockets=[listening])


def run_several(application: FastAPI, listening: socket.socket, workers: int) -> None:
    """Answer in so many processes until told to stop (SIGTERM, SIGINT)."""
    services = application.state.services
    services.live.prepare()
    services.engine.dispose()  # a connection belongs to one process
    gc.collect()
    gc.freeze()  # the collector would write to every object that the processes share
    asked_to_stop = False
    running: set[int] = set()

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True
        for worker in running:
            os.kill(worker, number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not asked_to_stop or running:
        while not asked_to_stop and len(running) < workers:
            running.add(_forked(application, listening))
        ended, status = os.wait()
        running.discard(ended)
        if not asked_to_stop:
            log.error("worker %d ended with %d: it is replaced", ended, status)
            time.sleep(PAUSE_SECONDS)


def _forked(application: FastAPI, listening: socket.socket) -> int:
    worker = os.fork()
    if worker:
        return worker
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        run(application, listening)
        code = 0
    finally:
        os._exit(code)  # what the parent would do at its end is not for a worker to do
