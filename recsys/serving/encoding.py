"""The encoders of a server: all who search or refresh ask them, and none of them loads a model.

    a worker, the process that refreshes --texts--> Shared --a socket--> a process of its own: Beside --> vectors

The text encoder is loaded while slates are already being answered, the image encoder when somebody first searches by
a picture. Until then, and while a process that died is being replaced, questions wait in the socket. An app that is
alone in its process keeps the encoders beside itself. Pictures of strangers are opened there and nowhere else.
"""

import logging
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Client, Connection, Listener
from typing import Protocol, TypeVar, cast

import numpy as np
import orjson

from recsys.config import EmbeddingSettings
from recsys.embedding.apart import Asked, answer, of_texts, question, told
from recsys.embedding.decoding import Crop
from recsys.embedding.detecting import Region
from recsys.embedding.encoder import EncoderCard
from recsys.embedding.looking import Looking
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
Loaded = TypeVar("Loaded")


class Encoding(Asked, Protocol):
    """What searches and refreshes ask. Each answer may have to wait."""

    def prepare(self) -> None:
        """Have the text encoder loaded, in the background."""

    @property
    def image_card(self) -> EncoderCard:
        """What the vectors of pictures mean."""

    def see(self, picture: bytes, crop: Crop | None = None) -> Floats:
        """(dim,) the unit vector of a picture's file, or of a part of it. Raises ContentError for no picture."""

    def depict(self, text: str) -> Floats:
        """(dim,) the unit vector of words among pictures. Raises EncoderError where the encoder reads none."""

    def regions(self, picture: bytes) -> list[Region]:
        """Things in a picture, the surest first; none without a detection model."""


class Beside:
    """The encoders in a thread of this process, which does one thing after another. patient: it waits without end."""

    def __init__(self, settings: EmbeddingSettings, patient: bool = False) -> None:
        self._settings, self._patient = settings, patient
        self._thread = ThreadPoolExecutor(1, "recsys-encoder")
        self._starting = threading.Lock()
        self._loaded: Future[TextEncoder] | None = None
        self._looking: Future[Looking] | None = None

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

    @property
    def image_card(self) -> EncoderCard:
        """What the vectors of pictures mean."""
        return self._look(lambda looking: looking.card)

    def see(self, picture: bytes, crop: Crop | None = None) -> Floats:
        """(dim,) the unit vector of a picture's file, or of a part of it. Raises ContentError for no picture."""
        return self._look(lambda looking: looking.see(picture, crop))

    def depict(self, text: str) -> Floats:
        """(dim,) the unit vector of words among pictures. Raises EncoderError where the encoder reads none."""
        return self._look(lambda looking: looking.depict(text))

    def regions(self, picture: bytes) -> list[Region]:
        """Things in a picture, the surest first; none without a detection model."""
        return self._look(lambda looking: looking.regions(picture))

    def _loading(self) -> "Future[TextEncoder]":
        with self._starting:
            if self._loaded is None:
                self._loaded = self._thread.submit(_ready, self._settings)
            return self._loaded

    def _do(self, work: Callable[[TextEncoder], Answer]) -> Answer:
        return self._done(self._loading(), work)

    def _look(self, work: Callable[[Looking], Answer]) -> Answer:
        with self._starting:
            if self._looking is None:
                self._looking = self._thread.submit(Looking, self._settings)
            looking = self._looking
        return self._done(looking, work)

    def _done(self, loaded: "Future[Loaded]", work: Callable[[Loaded], Answer]) -> Answer:
        patience = None if self._patient else PATIENCE_SECONDS
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
        self._image_card: EncoderCard | None = None

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

    @property
    def image_card(self) -> EncoderCard:
        """What the vectors of pictures mean."""
        card = self._image_card
        if card is None:
            told = orjson.loads(self._ask("image card", ()))
            card = self._image_card = EncoderCard.from_json(told)
        return card

    def see(self, picture: bytes, crop: Crop | None = None) -> Floats:
        """(dim,) the unit vector of a picture's file, or of a part of it. Raises ContentError for no picture."""
        asked = (b64encode(picture).decode(), *map(str, crop or ()))
        return np.frombuffer(self._ask("see", asked), np.float32)

    def depict(self, text: str) -> Floats:
        """(dim,) the unit vector of words among pictures. Raises EncoderError where the encoder reads none."""
        return np.frombuffer(self._ask("depict", (text,)), np.float32)

    def regions(self, picture: bytes) -> list[Region]:
        """Things in a picture, the surest first; none without a detection model."""
        told = orjson.loads(self._ask("regions", (b64encode(picture).decode(),)))
        return [Region(label, score, tuple(crop)) for label, score, crop in told]

    def answer(self) -> None:
        """Load the encoder and answer all who ask, until this process ends: what it was made for."""
        encoding = Beside(self._settings, patient=True)
        if self._settings.text_model != "none":
            encoding.prepare()
        while True:
            asking = self._listening.accept()
            say = partial(_say, encoding)
            threading.Thread(target=answer, args=(asking, say), daemon=True).start()

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
        # the next one may have loaded other models
        self._connection = self._card = self._image_card = None


def _say(encoding: Encoding, what: str, texts: Sequence[str]) -> bytes:
    """What is asked over a connection."""
    match what:
        case "image card":
            return orjson.dumps(encoding.image_card.to_json())
        case "see":
            picture, *edges = texts
            crop = cast(Crop, tuple(map(float, edges))) if edges else None
            return encoding.see(b64decode(picture), crop).tobytes()
        case "depict":
            return encoding.depict(texts[0]).tobytes()
        case "regions":
            return orjson.dumps(encoding.regions(b64decode(texts[0])), default=tuple)
        case _:
            return of_texts(encoding, what, texts)


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
    return EncoderLoading("the encoder is still being loaded: try again in a few seconds")
