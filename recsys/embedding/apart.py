"""A text encoder in another process, and how it is asked: texts over a connection, vectors back.

    Apart --settings, texts--> a process of its own: loads the model --> answer --vectors--> Apart

To import torch and to load a model takes seconds. `Apart` has that done while this process reads the catalogue, and
when it is closed the memory is free again.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cached_property
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from subprocess import DEVNULL, Popen
from tempfile import TemporaryDirectory

import numpy as np
import orjson

from recsys.config import EmbeddingSettings
from recsys.embedding.encoder import EncoderCard
from recsys.embedding.text import TextEncoder, known_text_card, load_text_encoder
from recsys.errors import ContentError, EncoderError
from recsys.identity import Floats

log = logging.getLogger(__name__)

FINE, PROBLEM, NO_CONTENT = b"=", b"!", b"?"
"""How an answer begins. Behind it: a card in JSON or rows of float32; what went wrong; what is wrong with the ask."""


class Apart:
    """A text encoder that loads in a process of its own from now on. To be closed."""

    def __init__(self, settings: EmbeddingSettings, vectors: Path) -> None:
        """vectors: where those of all encoders are kept."""
        self._settings, self._vectors = settings, vectors
        # killed, the process clears nothing away
        self._scratch = TemporaryDirectory(prefix="recsys-encoder-")
        self._connection, its = Pipe()
        paths = {
            "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
            "TMPDIR": self._scratch.name,
        }
        with its:
            self._process = Popen(  # noqa: S603  nothing in it is from outside
                [sys.executable, "-P", "-m", __name__, str(its.fileno())],
                pass_fds=[its.fileno()],
                env=os.environ | paths,
                stdin=DEVNULL,
                start_new_session=True,  # Ctrl-C is for this process
            )
        with suppress(OSError):  # it has ended already: whoever asks is told
            sent = settings.model_dump_json(exclude={"image_root"})  # a path may be no text
            self._connection.send_bytes(sent.encode())
            self._connection.send_bytes(os.fsencode(vectors))

    @cached_property
    def card(self) -> EncoderCard:
        """What the vectors mean. Waits for the model only where nobody loaded it before. Raises EncoderError."""
        known = known_text_card(self._settings, self._vectors)
        return known or EncoderCard.from_json(orjson.loads(self._ask("card", ())))

    def encode(self, contents: Sequence[str]) -> Floats:
        """(len(contents), card.dim) unit rows. Raises EncoderError."""
        rows = np.frombuffer(self._ask("encode", contents), np.float32)
        return rows.reshape(len(contents), self.card.dim)

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._scratch.cleanup()

    def _ask(self, what: str, texts: Sequence[str]) -> bytes:
        try:
            self._connection.send_bytes(question(what, texts))
            return told(self._connection.recv_bytes())
        except (OSError, EOFError):
            raise EncoderError(
                f"the process that encodes texts ended with {self._process.wait()}: "
                "if the log does not say why, is there enough memory?"
            ) from None


def question(what: str, texts: Sequence[str]) -> bytes:
    """what: `card` or `encode`, or what else who answers knows."""
    return orjson.dumps((what, list(texts)))


def told(answer: bytes) -> bytes:
    """What is in an answer. Raises EncoderError or ContentError for a problem."""
    if answer.startswith(PROBLEM):
        raise EncoderError(answer.removeprefix(PROBLEM).decode())
    if answer.startswith(NO_CONTENT):
        raise ContentError(answer.removeprefix(NO_CONTENT).decode())
    return answer.removeprefix(FINE)


Say = Callable[[str, Sequence[str]], bytes]
"""What is asked, of which texts -> a card in JSON, or rows of float32."""


def answer(asking: Connection, say: Say) -> None:
    """Answer one process until it hangs up. say: may raise EncoderError or ContentError, which is then the answer."""
    with asking, suppress(OSError, EOFError):
        while True:
            what, texts = orjson.loads(asking.recv_bytes())
            asking.send_bytes(_said(say, what, texts))


def _of_texts(encoder: TextEncoder, what: str, texts: Sequence[str]) -> bytes:
    if what == "card":
        return orjson.dumps(encoder.card.to_json())
    return encoder.encode(texts).tobytes()


def _said(say: Say, what: str, texts: Sequence[str]) -> bytes:
    try:
        return FINE + say(what, texts)
    except EncoderError as error:
        return PROBLEM + str(error).encode(errors="replace")
    except ContentError as error:
        return NO_CONTENT + str(error).encode(errors="replace")
    except Exception:
        log.exception("the encoder failed")
        return PROBLEM + b"the encoder failed: the log has the details"


def _main(connection: int) -> None:
    asking, loaded = Connection(connection), Future[TextEncoder]()
    settings = EmbeddingSettings.model_validate_json(asking.recv_bytes())
    vectors = Path(os.fsdecode(asking.recv_bytes()))
    try:
        encoder = load_text_encoder(settings, vectors)
        assert encoder is not None, "nobody asks where there is no model"
        loaded.set_result(encoder)
        with suppress(Exception):  # it comes again when it matters
            encoder.encode(["a"])
            if not asking.poll():  # who waits already may have few texts, which need no more
                encoder.prepare()
    except Exception as error:
        loaded.set_exception(error)
    answer(asking, lambda what, texts: _of_texts(loaded.result(), what, texts))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
