"""The words of a search -> a vector in the snapshot's text space.

A snapshot whose texts were encoded otherwise than the settings ask cannot be searched, and says so.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from recsys.config import EmbeddingSettings
from recsys.embedding.encoder import EncoderCard
from recsys.errors import EncoderError, EncoderLoading
from recsys.identity import Floats
from recsys.index.space import Space
from recsys.serving.encoding import Encoding

REMEMBERED = 2_000
"""Searches whose vectors are kept: people search for the same things."""

WAITING = 8
"""Searches that wait for the encoder at once. Each holds a thread; the rest are left to those who need none."""

TURN_SECONDS = 1.0
"""How long another one waits for such a place: a burst passes, a jam does not pile up."""


class Words:
    """The searches of this process."""

    def __init__(self, settings: EmbeddingSettings, encoding: Encoding) -> None:
        self._settings = settings
        self.encoding = None if settings.text_model == "none" else encoding
        self._places = threading.BoundedSemaphore(WAITING)
        self._encode = lru_cache(REMEMBERED)(self._encode_anew)

    def prepare(self) -> None:
        """Have the encoder loaded, in the background; what goes wrong is told to those who search."""
        if self.encoding is not None:
            self.encoding.prepare()

    def vector(self, text: str, space: Space | None) -> Floats:
        """(dim,) unit vector in this space. Raises EncoderError where it cannot be searched."""
        setting = f"embedding.text_model = {self._settings.text_model!r}"
        if space is None:
            raise EncoderError(
                f"this snapshot has no texts to search: check {setting}, then `recsys rebuild`"
            )
        with self._place():
            card = None if self.encoding is None else self.encoding.card
            if card != space.card:
                raise EncoderError(
                    f"the snapshot's texts were encoded by {space.card.model} ({space.card.template}), which is not "
                    f"what {setting} and embedding.text_fields ask for: set them back, or `recsys rebuild`"
                )
            found = self._encode(text.strip(), space.card)
        vector: Floats = space.encode_query(found[None, :])[0]
        return vector

    def _encode_anew(self, text: str, _: EncoderCard) -> Floats:
        assert self.encoding is not None
        vector: Floats = self.encoding.encode_query([text])[0]
        vector.setflags(write=False)
        return vector

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=TURN_SECONDS):
            raise EncoderLoading(
                f"{WAITING} searches wait for the text encoder already: try again in a few seconds"
            )
        try:
            yield
        finally:
            self._places.release()
