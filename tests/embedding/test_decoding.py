"""Files become pictures, however they were made; what shows nothing is told, and holds nothing up."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from photos import bad, bomb, file_of, noise, odd, one_colour_after_another, video_of
from PIL import Image, ImageCms

from recsys.embedding.decoding import decode, decode_image, without_remarks
from recsys.errors import ContentError

MEGABYTES = 1_000
"""What a job may take that embeds whatever a shop gives it; torch alone takes 400."""

EMBED = """
import json, sys
from pathlib import Path
from recsys.config import EmbeddingSettings
from recsys.embedding.image import load_image_encoder
from recsys.embedding.pictures import Fetched, Pictures
from recsys.embedding.vectors import embed_items
from recsys.identity import IdMap

folder = Path(sys.argv[1])
names = sorted(path.name for path in (folder / "in").iterdir())
pictures = Pictures(folder / "in", Fetched(folder / "fetched"))
encoder = load_image_encoder(EmbeddingSettings())
found = embed_items(IdMap(names), [(name,) for name in names], encoder, folder / "vectors", pictures)
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps([list(found.table.ids), found.problems, int(peak) / 1024]))
"""


LARGE = file_of(Image.new("RGB", (6_000, 6_000)), "JPEG")
"""A sixteenth of it is unpacked, as long as all its colours come together."""


def quartered(colour: str = "red", size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Of one colour, with a black quarter, so that turning it shows."""
    image = Image.new("RGB", size, colour)
    image.paste("black", (0, 0, size[0] // 2, size[1] // 2))
    return image


def test_of_two_hundred_bad_and_odd_files_each_is_used_or_told_by_its_item(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    good, no_good = dict(odd()), dict(bad())
    for name, data in (good | no_good).items():
        (tmp_path / "in" / name).write_bytes(data)
    assert len(good | no_good) >= 200
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EMBED, tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    used, problems, peak = json.loads(done.stdout)
    assert set(used) == set(good) and set(problems) == set(no_good)
    assert [name for name, why in problems.items() if name not in why] == []
    assert peak < MEGABYTES


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "PPM"])
def test_every_kind_that_shops_use_is_read(kind: str) -> None:
    shown = decode_image(file_of(quartered(), kind))
    assert shown.mode == "RGB" and shown.size == (64, 48)
    near = np.abs(np.subtract(shown.getpixel((60, 40)), (255, 0, 0)))
    assert near.max() < 12


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_photo_held_sideways_is_turned_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    upright = decode_image(file_of(quartered(), kind, exif=exif))
    assert upright.size == (48, 64)
    assert max(upright.getpixel((40, 5))) < 30 and upright.getpixel((5, 5))[0] > 220


def test_a_photo_that_says_nonsense_of_how_it_was_held_is_shown_as_it_is() -> None:
    data = file_of(quartered(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x9c" * 40)
    with without_remarks():
        assert decode_image(data).size == (64, 48)


def test_transparency_is_shown_on_white() -> None:
    clear = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    assert decode_image(file_of(clear, "PNG")).getpixel((5, 5)) == (255, 255, 255)
    palette = Image.new("P", (900, 900), 0)
    assert decode_image(file_of(palette, "GIF", transparency=0)).getpixel((5, 5)) == (255,) * 3


def test_of_what_moves_the_first_picture_is_shown() -> None:
    for kind in ("GIF", "WEBP", "PNG", "AVIF"):
        moving = file_of(
            Image.new("RGB", (40, 40), "red"),
            kind,
            save_all=True,
            append_images=[Image.new("RGB", (40, 40), "lime")],
        )
        assert decode_image(moving).getpixel((20, 20))[0] > 240, kind


def test_sixteen_bits_of_grey_become_eight_and_not_white() -> None:
    ramp = np.linspace(0, 65_535, 100, dtype=np.uint16)[None, :].repeat(50, axis=0)
    shown = np.asarray(decode_image(file_of(Image.fromarray(ramp), "PNG")))[25, :, 0]
    np.testing.assert_allclose(shown, np.linspace(0, 255, 100), atol=1)


def test_large_pictures_of_sixteen_bits_are_read() -> None:
    large = Image.fromarray(np.full((3_000, 2_500), 30_000, dtype=np.uint16))
    shown = decode_image(file_of(large, "PNG"))
    assert shown.size == (427, 512) and abs(shown.getpixel((9, 9))[0] - 117) <= 1


def test_a_large_jpeg_is_reduced_while_it_is_unpacked() -> None:
    assert decode_image(LARGE).size == (512, 512)


def test_inks_are_shown_as_their_profile_says() -> None:
    """There is no profile of inks in Pillow: one of screens must not be taken for it, and is left out."""
    inks = Image.new("CMYK", (20, 20), (0, 255, 255, 0))
    plain = decode_image(file_of(inks, "TIFF")).getpixel((5, 5))
    assert plain[0] > 200 and max(plain[1:]) < 40
    wrong = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode_image(file_of(inks, "TIFF", icc_profile=wrong)).getpixel((5, 5)) == plain


def test_a_large_photo_is_reduced_in_its_proportions() -> None:
    assert decode_image(file_of(Image.new("RGB", (3_000, 1_500)), "JPEG")).size == (512, 256)


def test_a_palette_is_looked_up_before_it_is_reduced() -> None:
    """The mean of two numbers of a palette is a third colour that nobody sees."""
    stripes = Image.new("RGB", (1_024, 1_024), "white")
    for x in range(0, 1_024, 2):
        stripes.paste("black", (x, 0, x + 1, 1_024))
    shown = np.asarray(decode_image(file_of(stripes.convert("P"), "PNG")))
    assert 90 < shown.mean() < 165 and shown.std() < 20


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the file is empty"),
        (b"<html>not found</html>", "expected one of AVIF, BMP"),
        (file_of(noise(1), "JPEG")[:900], "truncated"),
        (file_of(Image.new("RGB", (1, 1)), "PNG"), "1 x 1 pixels: expected at least 8"),
        (bomb(9_000, 9_000), "9000 x 9000 pixels, 81 million to unpack: expected at most 25"),
        (b"\0\0\0\x18ftypmp42" + bytes(100), "not a readable video"),
        (video_of([noise()]).replace(b"avc1", b"zzzz"), "its codec is not known here"),
        (one_colour_after_another(LARGE), "36 million to unpack"),
        (file_of(Image.new("RGB", (4_100, 4_100)), "WEBP"), "17 million to unpack"),
    ],
)
def test_what_shows_nothing_says_why(data: bytes, told: str) -> None:
    with pytest.raises(ContentError, match=told):
        decode(data)


def test_no_program_is_started_for_a_file() -> None:
    """Pillow gives PostScript to Ghostscript."""
    page = io.BytesIO()
    noise().save(page, "EPS")
    with pytest.raises(ContentError, match="expected one of"):
        decode(page.getvalue())
