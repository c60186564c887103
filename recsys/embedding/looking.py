"""What somebody searches by, as a vector in the space of the catalogue's pictures.

a picture, or a part of one --decode--> pictures --encoder--> one unit vector
words                       --an encoder that reads both-->   one unit vector
"""

from recsys.config import EmbeddingSettings
from recsys.embedding.decoding import Crop, decode, without_remarks
from recsys.embedding.detecting import Detector, Region
from recsys.embedding.encoder import EncoderCard, unit_rows
from recsys.embedding.image import ClipEncoder, load_image_encoder
from recsys.errors import EncoderError
from recsys.identity import Floats

SHARE = 0.1
"""Of the work that a video in the catalogue may be: those who search wait for one another."""


class Looking:
    """The image encoder of the settings, as those ask it who search."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        """Raises EncoderError where its model cannot be loaded."""
        encoder = load_image_encoder(settings)
        assert encoder is not None, "nobody asks where there is no model"
        self._encoder = encoder
        named = settings.detection_model
        self._detector = None if named == "none" else Detector(named)

    @property
    def card(self) -> EncoderCard:
        """What the vectors mean."""
        return self._encoder.card

    def see(self, data: bytes, crop: Crop | None = None) -> Floats:
        """(dim,) of a picture's file, or of a part of it; of a video the mean. Raises ContentError for no picture."""
        with without_remarks():
            shown = decode(data, crop, SHARE)
        return unit_rows(self._encoder.encode(shown).mean(axis=0))

    def depict(self, text: str) -> Floats:
        """(dim,) of words. Raises EncoderError for an encoder that reads none."""
        if not isinstance(self._encoder, ClipEncoder):
            raise EncoderError(f"{self.card.model} reads pictures only")
        return unit_rows(self._encoder.encode_text([text])[0])

    def regions(self, data: bytes) -> list[Region]:
        """Things in a picture, the surest first; none without a detection model."""
        if self._detector is None:
            return []
        with without_remarks():
            return self._detector.regions(decode(data, None, SHARE / 10)[0])
