"""The encoder that made a snapshot's vectors, found again by its card.

    card --the settings, the note beside its vectors, what comes along--> where its model lies --> that very encoder

The settings say what the next rebuild embeds with. Until it has, and after a rollback, a snapshot's vectors are of
another encoder: who searches or refreshes goes on with that one.
"""

import re
from pathlib import Path
from typing import TypeVar

from PIL import Image

from recsys.config import TEXT_FIELDS, EmbeddingSettings
from recsys.embedding.encoder import Encoder, EncoderCard, lies_at
from recsys.embedding.image import LITE, load_image_encoder
from recsys.embedding.text import OFFLINE, TextEncoder, identity_of, load_text_encoder
from recsys.errors import EncoderError

COMES_ALONG = {"text": OFFLINE, "image": LITE}
"""Kind of content -> what the model that the settings call `offline` is known by."""

BETWEEN_FIELDS = re.compile(rf"\. (?=(?:{'|'.join(TEXT_FIELDS)})(?:\.|$))")
"""In a card's template: the name of an attribute may hold a point as well."""

E = TypeVar("E", bound=Encoder[str] | Encoder[Image.Image])


def text_encoder_of(
    card: EncoderCard, settings: EmbeddingSettings, vectors: Path, lazily: bool = False
) -> TextEncoder:
    """The encoder that made texts' vectors of this card. Raises EncoderError where it is not to be had any more.

    vectors: where those of all encoders are kept. lazily: it may be loaded when there is a text to encode.
    """
    found, revision = _model_of(card, settings, vectors)
    own = settings.model_copy(update={"text_model": found, "text_fields": text_fields_of(card)})
    return _checked(load_text_encoder(own, vectors if lazily else None, revision), card)


def image_encoder_of(
    card: EncoderCard, settings: EmbeddingSettings, vectors: Path, lazily: bool = False
) -> Encoder[Image.Image]:
    """The same of pictures."""
    found, revision = _model_of(card, settings, vectors)
    own = settings.model_copy(update={"image_model": found})
    return _checked(load_image_encoder(own, vectors if lazily else None, revision), card)


def text_fields_of(card: EncoderCard) -> tuple[str, ...]:
    """The fields that made an item's text, in their order."""
    return tuple(BETWEEN_FIELDS.split(card.template))


def _model_of(
    card: EncoderCard, settings: EmbeddingSettings, vectors: Path
) -> tuple[str, str | None]:
    """What the settings would have to name, and its commit on the hub, if it lies there. Raises EncoderError."""
    setting = f"embedding.{card.modality}_model"
    named, noted = getattr(settings, f"{card.modality}_model"), lies_at(card, vectors)
    for name in (named, noted, "offline"):
        if name is not None and _may_be(name, card):
            on_hub = name == card.model != card.revision and not Path(name).is_dir()
            return name, card.revision if on_hub else None
    elsewhere = f"nor what lies at {noted}" if noted else "and where it lies was not noted"
    neither = "neither" if noted else "not"
    raise _lost(card, f"is {neither} what {setting} = {named!r} names {elsewhere}: put it back")


def _may_be(name: str, card: EncoderCard) -> bool:
    """Whether a model so named is the one of a card, as far as can be told without loading it."""
    if name == "offline":
        return card.model == COMES_ALONG[card.modality]
    folder = Path(name)
    try:
        if folder.is_dir():
            return identity_of(folder) == (card.model, card.revision)
    except OSError:
        return False
    return name == card.model


def _checked(encoder: E | None, card: EncoderCard) -> E:
    if encoder is None or encoder.card != card:
        now = "none" if encoder is None else encoder.card
        raise _lost(card, f"encodes otherwise by now (expected {card}, found {now})")
    return encoder


def _lost(card: EncoderCard, why: str) -> EncoderError:
    return EncoderError(
        f"the snapshot's {card.modality}s were encoded by {card.model} ({card.template}), which {why}, "
        "or `recsys rebuild`"
    )
