"""What somebody searches by, as a vector in the space of the catalogue's pictures.

a picture, or a part of one --decode--> pictures --encoder--> one unit vector
words                       --an encoder that reads both-->   one unit vector
"""

from dataclasses import dataclass

from PIL import Image

from recsys.embedding.decoding import Crop, decode, without_remarks
from recsys.embedding.detecting import Detector, Region
from recsys.embedding.encoder import Encoder, unit_rows
from recsys.embedding.image import ClipEncoder
from recsys.errors import EncoderError
from recsys.identity import Floats

SHARE = 0.1
"""Of the work that a video in the catalogue may be: those who search wait for one another."""


@dataclass(frozen=True)
class Looking:
    """An image encoder, as those ask it who search."""

    encoder: Encoder[Image.Image]

    def see(self, data: bytes, crop: Crop | None = None) -> Floats:
        """(dim,) of a picture's file, or of a part of it; of a video the mean. Raises ContentError for no picture."""
        with without_remarks():
            shown = decode(data, crop, SHARE)
        return unit_rows(self.encoder.encode(shown).mean(axis=0))

    def depict(self, text: str) -> Floats:
        """(dim,) of words. Raises EncoderError for an encoder that reads none."""
        if not isinstance(self.encoder, ClipEncoder):
            raise EncoderError(f"{self.encoder.card.model} reads pictures only")
        return unit_rows(self.encoder.encode_text([text])[0])


def regions(detector: Detector, data: bytes) -> list[Region]:
    """Things in a picture's file, the surest first. Raises ContentError for no picture."""
    with without_remarks():
        return detector.regions(decode(data, None, SHARE / 10)[0])
