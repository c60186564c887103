"""The words of a search -> a vector in the snapshot's text space.

One encoder per process, loaded with the first snapshot that has texts; a snapshot whose texts were encoded
otherwise cannot be searched with it, and says so.
"""

import logging
import threading
from functools import lru_cache

from recsys.config import EmbeddingSettings
from recsys.embedding.text import TextEncoder, load_text_encoder
from recsys.errors import EncoderError
from recsys.identity import Floats
from recsys.index.space import Space

log = logging.getLogger(__name__)

REMEMBERED = 2_000
"""Searches whose vectors are kept: people search for the same things."""


class Words:
    """The text encoder of this process."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings
        self._encoder: TextEncoder | None = None
        self._problem: EncoderError | None = None
        self._loading = threading.Lock()
        self._encoding = threading.Lock()
        self._encode = lru_cache(REMEMBERED)(self._encode_anew)

    def prepare(self) -> None:
        """Load the encoder; what goes wrong is told to those who search."""
        with self._loading:
            if self._encoder is not None or self._problem is not None:
                return
            try:
                self._encoder = load_text_encoder(self._settings)
            except EncoderError as error:
                log.error("search is switched off: %s", error)
                self._problem = error

    @property
    def encoder(self) -> TextEncoder | None:
        """None where it is not loaded."""
        return self._encoder

    def vector(self, text: str, space: Space | None) -> Floats:
        """(dim,) unit vector in this space. Raises EncoderError where it cannot be searched."""
        self._check(space)
        assert space is not None
        vector: Floats = space.encode_query(self._encode(text.strip())[None, :])[0]
        return vector

    def _check(self, space: Space | None) -> None:
        setting = f"embedding.text_model = {self._settings.text_model!r}"
        if space is None:
            raise EncoderError(
                f"this snapshot has no texts to search: check {setting}, then `recsys rebuild`"
            )
        if self._problem is not None:
            raise self._problem
        if self._encoder is None or self._encoder.card.fingerprint != space.card.fingerprint:
            raise EncoderError(
                f"the snapshot's texts were encoded by {space.card.model} ({space.card.template}), which is not "
                f"what {setting} and embedding.text_fields ask for: set them back, or `recsys rebuild`"
            )

    def _encode_anew(self, text: str) -> Floats:
        """Tokenizers are not thread-safe: one at a time."""
        assert self._encoder is not None
        with self._encoding:
            vector: Floats = self._encoder.encode_query([text])[0]
        vector.setflags(write=False)
        return vector
