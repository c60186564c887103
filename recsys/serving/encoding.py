"""The one text encoder of a server: all who search or refresh ask it, and none of them loads a model.

    a worker, the process that refreshes --texts--> Shared --a socket--> a process of its own: Beside --> vectors

The encoder is loaded while slates are already being answered. Until then, and while a process that died is being
replaced, questions wait in the socket. An app that is alone in its process keeps the encoder beside itself.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from typing import Protocol, TypeVar

import numpy as np
import orjson

from recsys.config import EmbeddingSettings
from recsys.embedding.apart import Asked, answer, question, told
from recsys.embedding.encoder import EncoderCard
from recsys.embedding.text import TextEncoder, load_text_encoder
from recsys.errors import EncoderError, EncoderLoading
from recsys.identity import Floats

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0
"""How long a question waits for the encoder to be loaded, and for the questions before it."""

TEXTS_AT_ONCE = 8
"""Texts of items in one question: a search that comes meanwhile waits for no more."""

WAITING = 128
"""Connections that wait to be taken up."""

Answer = TypeVar("Answer")


class Encoding(Asked, Protocol):
    """What searches and refreshes ask. Each answer may have to wait."""

    def prepare(self) -> None:
        """Have the encoder loaded, in the background."""


class Beside:
    """The encoder in a thread of this process, which does one thing after another. patient: it waits without end."""

    def __init__(self, settings: EmbeddingSettings, patient: bool = False) -> None:
        self._settings, self._patient = settings, patient
        self._thread = ThreadPoolExecutor(1, "recsys-encoder")
        self._starting = threading.Lock()
        self._loaded: Future[TextEncoder] | None = None

    def prepare(self) -> None:
        """Have the encoder loaded, in the background."""
        self._loading()

    @property
    def card(self) -> EncoderCard:
        """What the vectors mean."""
        return self._do(lambda encoder: encoder.card)

    def encode(self, contents: Sequence[str]) -> Floats:
        """(len(contents), card.dim) unit rows of items' texts."""
        return self._do(lambda encoder: encoder.encode(contents))

    def encode_query(self, contents: Sequence[str]) -> Floats:
        """The same of what people type."""
        return self._do(lambda encoder: encoder.encode_query(contents))

    def _loading(self) -> "Future[TextEncoder]":
        with self._starting:
            if self._loaded is None:
                self._loaded = self._thread.submit(_ready, self._settings)
            return self._loaded

    def _do(self, work: Callable[[TextEncoder], Answer]) -> Answer:
        loaded, patience = self._loading(), None if self._patient else PATIENCE_SECONDS
        try:
            return self._thread.submit(lambda: work(loaded.result())).result(patience)
        except TimeoutError:
            raise _still_loading() from None


class Shared:
    """The encoder in a process of its own. To be made before the fork; who asks connects when first asking."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings
        self._listening = Listener(family="AF_UNIX", backlog=WAITING)
        self._turn = threading.Lock()
        self._connection: Connection | None = None
        self._card: EncoderCard | None = None

    def prepare(self) -> None:
        """Its process prepares itself."""

    @property
    def card(self) -> EncoderCard:
        """What the vectors mean."""
        card = self._card
        if card is None:
            card = self._card = EncoderCard.from_json(orjson.loads(self._ask("card", ())))
        return card

    def encode(self, contents: Sequence[str]) -> Floats:
        """(len(contents), card.dim) unit rows of items' texts; a few at a time, of about the same length."""
        rows = np.empty((len(contents), self.card.dim), dtype=np.float32)
        by_length = sorted(range(len(contents)), key=lambda place: len(contents[place]))
        for start in range(0, len(contents), TEXTS_AT_ONCE):
            some = by_length[start : start + TEXTS_AT_ONCE]
            rows[some] = self._rows("encode", [contents[place] for place in some])
        return rows

    def encode_query(self, contents: Sequence[str]) -> Floats:
        """The same of what people type."""
        return self._rows("encode_query", contents)

    def answer(self) -> None:
        """Load the encoder and answer all who ask, until this process ends: what it was made for."""
        encoding = Beside(self._settings, patient=True)
        encoding.prepare()
        while True:
            asking = self._listening.accept()
            threading.Thread(target=answer, args=(asking, lambda: encoding), daemon=True).start()

    def close(self) -> None:
        """Nobody is answered any more."""
        self._listening.close()

    def _rows(self, what: str, texts: Sequence[str]) -> Floats:
        return np.frombuffer(self._ask(what, texts), np.float32).reshape(len(texts), -1)

    def _ask(self, what: str, texts: Sequence[str]) -> bytes:
        """A question that was lost with the process that had it is put once more to the next one."""
        end = time.monotonic() + PATIENCE_SECONDS
        asked = question(what, texts)
        if not self._turn.acquire(timeout=PATIENCE_SECONDS):
            raise _still_loading()
        try:
            for _ in range(2):
                with suppress(OSError, EOFError):
                    return self._told(asked, end)
                self._hang_up()
            raise _still_loading()
        finally:
            self._turn.release()

    def _told(self, asked: bytes, end: float) -> bytes:
        if self._connection is None:
            self._connection = Client(self._listening.address)
        self._connection.send_bytes(asked)
        if not self._connection.poll(max(0.0, end - time.monotonic())):
            self._hang_up()  # what comes later answers nobody
            raise _still_loading()
        return told(self._connection.recv_bytes())

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._card = None  # the next one may have loaded another model


def _ready(settings: EmbeddingSettings) -> TextEncoder:
    """With all that is made when first used."""
    try:
        encoder = load_text_encoder(settings)
        assert encoder is not None, "nobody asks where there is no model"
        encoder.encode_query(["a"])
    except EncoderError as error:
        log.error("search is switched off: %s", error)
        raise
    return encoder


def _still_loading() -> EncoderLoading:
    return EncoderLoading("the text encoder is still being loaded: try again in a few seconds")
