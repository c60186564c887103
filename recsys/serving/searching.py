"""What is searched for -> vectors in the snapshot's spaces.

    words    --text encoder-->                  text
    words    --image encoder that reads them--> image
    pictures --image encoder-->                 image
    items    --their own vectors, signed-->     text and image
        each kind of content: the sum, brought to unit length

Who encodes is named by the card of the space, not by the settings: those are for the next rebuild.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from recsys.config import EmbeddingSettings
from recsys.embedding.decoding import Crop
from recsys.embedding.detecting import Region
from recsys.embedding.encoder import EncoderCard, unit_rows
from recsys.errors import EncoderError, EncoderLoading, QueryError
from recsys.identity import Floats
from recsys.index.space import Space
from recsys.serving.encoding import Encoding
from recsys.serving.schemas import Compared

log = logging.getLogger(__name__)

REMEMBERED = 2_000
"""Searches whose vectors are kept: people search for the same things."""

WAITING = 8
"""Searches that wait for the encoders at once. Each holds a thread; the rest are left to those who need none."""

TURN_SECONDS = 1.0
"""How long another one waits for such a place: a burst passes, a jam does not pile up."""

NOTHING_LEFT = 1e-4
"""Of a sum of unit vectors whose loudest weighs 1: what is shorter is rounding."""


class Searching:
    """The searches of this process."""

    def __init__(self, settings: EmbeddingSettings, encoding: Encoding) -> None:
        self._settings = settings
        self.encoding = encoding
        self._places = threading.BoundedSemaphore(WAITING)
        self._read = lru_cache(REMEMBERED)(self._read_anew)

    @property
    def detects(self) -> bool:
        """Whether there is a detection model."""
        return self._settings.detection_model != "none"

    def prepare(self, cards: Iterable[EncoderCard]) -> None:
        """Wait until the encoders of these are loaded that somebody would wait for.

        What goes wrong is told here, and to those who search.
        """
        for card in cards:
            try:
                self.encoding.prepare(card)
            except EncoderError as error:
                log.error("%ss cannot be searched: %s", card.modality, error)

    def sought(
        self,
        spaces: Mapping[str, Space],
        by: Compared,
        text: str,
        picture: bytes | None,
        crop: Crop | None,
        items: Sequence[tuple[int, float]],
    ) -> dict[str, Floats]:
        """Kind of content -> (dim,) unit vector of what is sought, at least one.

        items: ordinals and signed weights. Words and a picture weigh 1 each. Raises EncoderError where something
        cannot be searched, QueryError where nothing is left to search for.
        """
        parts: dict[str, list[tuple[float, Floats]]] = {"text": [], "image": []}
        if text:
            for kind in self._read_as(by, spaces):
                parts[kind].append((1.0, self._words(text, kind, spaces)))
        if picture is not None:
            if by == "text":
                raise QueryError("by: a picture has no text to compare: take 'blend' or 'image'")
            parts["image"].append((1.0, self._looks(picture, crop, spaces)))
        for kind in parts:
            space = spaces.get(kind)
            if space is not None and by in {"blend", kind}:
                parts[kind] += [(weight, space.rows[item]) for item, weight in items]
        summed = {kind: _sum(some) for kind, some in parts.items()}
        found = {kind: vector for kind, vector in summed.items() if vector is not None}
        if not found:
            raise QueryError(
                "items: what they say cancels out, or they have nothing of what is compared: "
                "name others, or add text or a picture"
            )
        return found

    def regions(self, picture: bytes) -> list[Region]:
        """Things in a picture, the surest first. Raises EncoderError."""
        with self._place():
            return self.encoding.regions(picture)

    def _read_as(self, by: Compared, spaces: Mapping[str, Space]) -> list[str]:
        """The kinds of content that words are compared with."""
        if by != "blend":
            return [by]
        image = spaces.get("image")
        both = image is not None and image.card.shared_space
        return (["text"] if "text" in spaces or not both else []) + (["image"] if both else [])

    def _words(self, text: str, kind: str, spaces: Mapping[str, Space]) -> Floats:
        space = self._space(kind, spaces)
        if kind == "image" and not space.card.shared_space:
            raise EncoderError(
                f"words cannot be compared with pictures: {space.card.model} reads none; set "
                "embedding.image_model to one of the CLIP family (its hub id, or a folder), then `recsys rebuild`"
            )
        with self._place():
            found = self._read(text, space.card)
        vector: Floats = space.encode_query(found[None, :])[0]
        return vector

    def _looks(self, picture: bytes, crop: Crop | None, spaces: Mapping[str, Space]) -> Floats:
        space = self._space("image", spaces)
        with self._place():
            found = self.encoding.see(space.card, picture, crop)
        vector: Floats = space.encode_query(found[None, :])[0]
        return vector

    def _space(self, kind: str, spaces: Mapping[str, Space]) -> Space:
        if kind not in spaces:
            setting = f"embedding.{kind}_model"
            value = getattr(self._settings, f"{kind}_model")
            raise EncoderError(
                f"this snapshot has no {kind}s to search: check {setting} = {value!r}, then `recsys rebuild`"
            )
        return spaces[kind]

    def _read_anew(self, text: str, card: EncoderCard) -> Floats:
        if card.modality == "text":
            vector: Floats = self.encoding.encode_query(card, [text])[0]
        else:
            vector = self.encoding.depict(card, text)
        vector.setflags(write=False)
        return vector

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=TURN_SECONDS):
            raise EncoderLoading(
                f"{WAITING} searches wait for the encoder already: try again in a few seconds"
            )
        try:
            yield
        finally:
            self._places.release()


def _sum(parts: Sequence[tuple[float, Floats]]) -> Floats | None:
    """The weighted sum, brought to unit length; None where nothing is left but rounding."""
    loudest = max((abs(weight) for weight, _ in parts), default=0.0)
    if not loudest:
        return None
    total = sum(np.float32(weight / loudest) * vector for weight, vector in parts)
    return unit_rows(np.asarray(total)) if np.linalg.norm(total) > NOTHING_LEFT else None
