"""A real server on a port of this machine, and what tests ask of it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from recsys.config import EmbeddingSettings, ServingSettings, Settings
from recsys.serving.app import create_app
from recsys.snapshot import Artefacts, Snapshots

POLL = 0.05


@dataclass(frozen=True)
class Api:
    """A running server, and what lies behind it."""

    client: httpx.Client
    settings: Settings
    engine: Engine
    artefacts: Artefacts
    """What the world's snapshot holds."""
    snapshot: str

    def get(self, path: str, **params: object) -> dict:
        """The body of a GET that must succeed."""
        reply = self.client.get(path, params=params)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def post(self, path: str, body: object) -> dict:
        """The body of a POST that must succeed."""
        reply = self.client.post(path, json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def ids(self, path: str, **params: object) -> list[str]:
        """The items of a slate."""
        return [item["item_id"] for item in self.get(path, **params)["items"]]

    @property
    def snapshots(self) -> Snapshots:
        return Snapshots(self.settings.home / "snapshots")


@contextmanager
def running(
    settings: Settings, made: Callable[[Settings], FastAPI] = create_app
) -> Iterator[httpx.Client]:
    """Serve in a thread until the end of the block."""
    config = uvicorn.Config(made(settings), port=0, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        port = server.servers[0].sockets[0].getsockname()[1]
        # Many threads may share the client: none of them closes a connection for the others.
        every = httpx.Limits(max_keepalive_connections=None)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, limits=every) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def until(holds: Callable[[], bool], seconds: float = 180) -> None:
    """Wait for something to become true; what is used for the first time is compiled meanwhile."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def served_quickly(settings: Settings) -> Settings:
    """Settings that look for changes often and load no text model."""
    return settings.model_copy(
        update={
            "serving": ServingSettings(poll_seconds=POLL),
            "embedding": EmbeddingSettings(text_model="none", image_model="none"),
        }
    )


def alike(one: object, other: object) -> bool:
    """Whether two answers are one but for the moment they were given at: what is new grows older."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
        case list(), list():
            return len(one) == len(other) and all(map(alike, one, other))
        case float(), float():
            return abs(one - other) < 1e-4
        case _:
            return one == other
