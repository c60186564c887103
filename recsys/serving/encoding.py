"""The encoders of a server: all who search or refresh ask them, and none of them loads a model.

    a worker, the process that refreshes --card, texts--> Shared --a socket--> a process of its own: Beside --> vectors

Who asks names the card of the snapshot's space, and the encoder of that card answers, whatever the settings say; the
two asked last are kept of each kind. The text encoder is loaded while slates are already being answered, or before a
snapshot with another card is served; the image encoder when somebody first searches by a picture. Until then, and while
a process that died is being replaced, questions wait in the socket. An app that is alone in its process keeps the
encoders beside itself. Pictures of strangers are opened there and nowhere else.
"""

import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

import numpy as np
import orjson

from recsys.config import EmbeddingSettings
from recsys.embedding.apart import answer, question, told
from recsys.embedding.decoding import Crop
from recsys.embedding.detecting import Detector, Region
from recsys.embedding.encoder import EncoderCard
from recsys.embedding.finding import image_encoder_of, text_encoder_of
from recsys.embedding.looking import Looking, regions
from recsys.embedding.text import TextEncoder
from recsys.errors import EncoderLoading
from recsys.identity import Floats

PATIENCE_SECONDS = 60.0
"""How long a question waits for the encoder to be loaded, and for the questions before it."""

KEPT = 2
"""Models of a kind in memory: while one snapshot takes over from another, both are asked."""

TEXTS_AT_ONCE = 8
"""Texts of items in one question: a search that comes meanwhile waits for no more."""

WAITING = 128
"""Connections that wait to be taken up."""

Answer = TypeVar("Answer")
Loaded = TypeVar("Loaded")


class Encoding(Protocol):
    """What searches and refreshes ask of the encoder of a card. Each answer may have to wait.

    Raises EncoderError where that encoder is not to be had any more.
    """

    def prepare(self, card: EncoderCard) -> None:
        """Wait until that encoder is loaded, if it is of texts, or of pictures and another one has been asked."""

    def encode(self, card: EncoderCard, contents: Sequence[str]) -> Floats:
        """(len(contents), card.dim) unit rows of items' texts."""

    def encode_query(self, card: EncoderCard, contents: Sequence[str]) -> Floats:
        """The same of what people type."""

    def see(self, card: EncoderCard, picture: bytes, crop: Crop | None = None) -> Floats:
        """(dim,) the unit vector of a picture's file, or of a part of it. Raises ContentError for no picture."""

    def depict(self, card: EncoderCard, text: str) -> Floats:
        """(dim,) the unit vector of words among pictures. Raises EncoderError where the encoder reads none."""

    def regions(self, picture: bytes) -> list[Region]:
        """Things in a picture, the surest first; none without a detection model."""


@dataclass(frozen=True)
class Reading:
    """The text encoder of a card, as a refresh asks for one."""

    encoding: Encoding
    card: EncoderCard

    def encode(self, contents: Sequence[str]) -> Floats:
        """(len(contents), card.dim) unit rows. Raises EncoderError."""
        return self.encoding.encode(self.card, contents)


class _Kept(Generic[Loaded]):
    """The models of one kind that were asked last, loaded in a thread of their own."""

    def __init__(self, load: Callable[[EncoderCard], Loaded]) -> None:
        self._load = load
        self._thread = ThreadPoolExecutor(1, "recsys-loading")
        self._turn = threading.Lock()
        self._models: dict[str, Future[Loaded]] = {}
        """By the store of their vectors: texts of other fields are read by the same model."""

    @property
    def asked(self) -> bool:
        """Whether there is any."""
        return bool(self._models)

    def of(self, card: EncoderCard) -> "Future[Loaded]":
        """The model of a card. One that could not be loaded is tried again."""
        with self._turn:
            model = self._models.pop(card.store, None)
            if model is None or (model.done() and model.exception()):
                model = self._thread.submit(self._load, card)
            self._models[card.store] = model
            for store in list(self._models)[:-KEPT]:
                del self._models[store]
            return model


class Beside:
    """The encoders in threads of this process; one question is answered after another."""

    def __init__(self, settings: EmbeddingSettings, vectors: Path, patient: bool = False) -> None:
        """vectors: where those of all encoders are kept. patient: who asks waits without end."""
        self._patient = patient
        self._thread = ThreadPoolExecutor(1, "recsys-encoder")
        self._texts = _Kept(lambda card: _ready(text_encoder_of(card, settings, vectors)))
        self._looks = _Kept(lambda card: Looking(image_encoder_of(card, settings, vectors)))
        named = settings.detection_model
        self._detector = None if named == "none" else Detector(named)

    def prepare(self, card: EncoderCard) -> None:
        """Wait until that encoder is loaded, if it is of texts, or of pictures and another one has been asked."""
        if card.modality == "text":
            self._do(self._texts.of(card), lambda _: None)
        elif self._looks.asked:
            self._do(self._looks.of(card), lambda _: None)

    def encode(self, card: EncoderCard, contents: Sequence[str]) -> Floats:
        """(len(contents), card.dim) unit rows of items' texts."""
        return self._do(self._texts.of(card), lambda encoder: encoder.encode(contents))

    def encode_query(self, card: EncoderCard, contents: Sequence[str]) -> Floats:
        """The same of what people type."""
        return self._do(self._texts.of(card), lambda encoder: encoder.encode_query(contents))

    def see(self, card: EncoderCard, picture: bytes, crop: Crop | None = None) -> Floats:
        """(dim,) the unit vector of a picture's file, or of a part of it. Raises ContentError for no picture."""
        return self._do(self._looks.of(card), lambda looking: looking.see(picture, crop))

    def depict(self, card: EncoderCard, text: str) -> Floats:
        """(dim,) the unit vector of words among pictures. Raises EncoderError where the encoder reads none."""
        return self._do(self._looks.of(card), lambda looking: looking.depict(text))

    def regions(self, picture: bytes) -> list[Region]:
        """Things in a picture, the surest first; none without a detection model."""
        if self._detector is None:
            return []
        there = Future[Detector]()
        there.set_result(self._detector)
        return self._do(there, lambda detector: regions(detector, picture))

    def _do(self, loading: "Future[Loaded]", work: Callable[[Loaded], Answer]) -> Answer:
        """Who waits for a model to be loaded holds up none of those who ask another."""
        end = time.monotonic() + PATIENCE_SECONDS
        try:
            model = loading.result(self._until(end))
            return self._thread.submit(work, model).result(self._until(end))
        except TimeoutError:
            raise _still_loading() from None

    def _until(self, end: float) -> float | None:
        return None if self._patient else max(0.0, end - time.monotonic())


class Shared:
    """The encoders in a process of their own. To be made before the fork; who asks connects when first asking."""

    def __init__(self, settings: EmbeddingSettings, vectors: Path) -> None:
        """vectors: where those of all encoders are kept."""
        self._settings, self._vectors = settings, vectors
        self._listening = Listener(family="AF_UNIX", backlog=WAITING)
        self._turn = threading.Lock()
        self._connection: Connection | None = None

    def prepare(self, card: EncoderCard) -> None:
        """Wait until that encoder is loaded, if it is of texts, or of pictures and another one has been asked."""
        with suppress(OSError, EOFError), Client(self._listening.address) as own:
            # not over the connection that searches take meanwhile
            own.send_bytes(question("prepare", (_written(card),)))
            if not own.poll(PATIENCE_SECONDS):
                raise _still_loading()
            told(own.recv_bytes())

    def encode(self, card: EncoderCard, contents: Sequence[str]) -> Floats:
        """(len(contents), card.dim) unit rows of items' texts; a few at a time, of about the same length."""
        rows = np.empty((len(contents), card.dim), dtype=np.float32)
        by_length = sorted(range(len(contents)), key=lambda place: len(contents[place]))
        for start in range(0, len(contents), TEXTS_AT_ONCE):
            some = by_length[start : start + TEXTS_AT_ONCE]
            rows[some] = self._rows("encode", card, [contents[place] for place in some])
        return rows

    def encode_query(self, card: EncoderCard, contents: Sequence[str]) -> Floats:
        """The same of what people type."""
        return self._rows("encode_query", card, contents)

    def see(self, card: EncoderCard, picture: bytes, crop: Crop | None = None) -> Floats:
        """(dim,) the unit vector of a picture's file, or of a part of it. Raises ContentError for no picture."""
        asked = (_written(card), b64encode(picture).decode(), *map(str, crop or ()))
        return np.frombuffer(self._ask("see", asked), np.float32)

    def depict(self, card: EncoderCard, text: str) -> Floats:
        """(dim,) the unit vector of words among pictures. Raises EncoderError where the encoder reads none."""
        return np.frombuffer(self._ask("depict", (_written(card), text)), np.float32)

    def regions(self, picture: bytes) -> list[Region]:
        """Things in a picture, the surest first; none without a detection model."""
        told = orjson.loads(self._ask("regions", (b64encode(picture).decode(),)))
        return [Region(label, score, tuple(crop)) for label, score, crop in told]

    def answer(self) -> None:
        """Answer all who ask, until this process ends: what it was made for."""
        encoding = Beside(self._settings, self._vectors, patient=True)
        while True:
            asking = self._listening.accept()
            say = partial(_say, encoding)
            threading.Thread(target=answer, args=(asking, say), daemon=True).start()

    def close(self) -> None:
        """Nobody is answered any more."""
        self._listening.close()

    def _rows(self, what: str, card: EncoderCard, texts: Sequence[str]) -> Floats:
        said = self._ask(what, (_written(card), *texts))
        return np.frombuffer(said, np.float32).reshape(len(texts), card.dim)

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
        self._connection = None


def _written(card: EncoderCard) -> str:
    return orjson.dumps(card.to_json()).decode()


def _say(encoding: Encoding, what: str, said: Sequence[str]) -> bytes:
    """What is asked over a connection; but for `regions`, the card comes first."""
    if what == "regions":
        return orjson.dumps(encoding.regions(b64decode(said[0])), default=tuple)
    card, rest = EncoderCard.from_json(orjson.loads(said[0])), said[1:]
    match what:
        case "prepare":
            encoding.prepare(card)
            return b""
        case "see":
            picture, *edges = rest
            crop = cast(Crop, tuple(map(float, edges))) if edges else None
            return encoding.see(card, b64decode(picture), crop).tobytes()
        case "depict":
            return encoding.depict(card, rest[0]).tobytes()
        case "encode":
            return encoding.encode(card, rest).tobytes()
        case _:
            return encoding.encode_query(card, rest).tobytes()


def _ready(encoder: TextEncoder) -> TextEncoder:
    """With all that is made when first used."""
    encoder.encode_query(["a"])
    return encoder


def _still_loading() -> EncoderLoading:
    return EncoderLoading("the encoder is still being loaded: try again in a few seconds")
