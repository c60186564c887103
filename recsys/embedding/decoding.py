"""Files become upright RGB pictures, whatever they come as.

    bytes --decode--> one picture of a photo, several of a video

Nothing here trusts a file: its kind is told by its first bytes, how much it would fill is known before it is unpacked,
and whatever decoders raise is one kind of error.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from recsys.embedding.video import container_of, frames
from recsys.errors import ContentError

LONGEST_SIDE = 512
"""Larger pictures are reduced while they are decoded: no encoder here looks at more."""

LEAST_SIDE = 8
"""What is smaller shows nothing: a placeholder, or a pixel that counts visitors."""

MOST_PIXELS = 25_000_000
"""Unpacked at once: some 250 MB in the worst case. Of most JPEGs far less is unpacked than there is."""

HUNGRY = {"WEBP": 0.6}
"""Formats whose decoders need more for each pixel, and the share of those that they may have."""

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Of the others, some start programs, and nobody sells by them."""

SEQUENTIAL, PROGRESSIVE, SCAN = (0xC0, 0xC1, 0xC9), (0xC2, 0xCA), 0xDA
"""Markers of JPEG: how a frame is made, and where a scan begins."""

ORIENTATION = 0x0112
"""The tag of EXIF that says how a camera was held."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What to do about it."""

Crop = tuple[float, float, float, float]
"""A part of an upright picture: left, top, width and height, as shares of its own width and height."""


def decode(data: bytes, crop: Crop | None = None, share: float = 1.0) -> list[Image.Image]:
    """RGB, upright, at most 512 a side, on white where it was transparent; of what is animated, the first picture.

    Of a video, frames from all over it. crop: only this part of each. share: of the work that a video may be.
    Raises ContentError saying what is wrong with it.
    """
    container = container_of(data)
    if container is None:
        return [decode_image(data, crop)]
    shown = frames(data, container, LONGEST_SIDE, share)
    return shown if crop is None else [_part(frame, crop) for frame in shown]


def decode_image(data: bytes, crop: Crop | None = None) -> Image.Image:
    """The same of a photo."""
    if not data:
        raise ContentError("not a readable picture: the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            held = _held(image)
            _check(image, whole=crop is not None or not _comes_in_rows(data))
            if crop is None:
                return _turned(_on_white(_reduced(image)), held)
            return _on_white(_reduced(_part(_turned(image, held), crop)))
    except ContentError:
        raise
    except Exception as error:  # decoders fail in many ways on broken files
        raise ContentError(f"not a readable picture: {_said(error)}") from None


@contextmanager
def without_remarks() -> Iterator[None]:
    """Odd metadata is no reason to say anything. For the whole process: the one who starts threads asks for it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def _said(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"expected one of {', '.join(FORMATS)}, or a video"
    return str(error) or repr(error)


def _check(image: Image.Image, whole: bool) -> None:
    """Refuse what is too small to show anything, or too large to unpack. whole: it is unpacked as it is."""
    width, height = image.size
    if min(width, height) < LEAST_SIDE:
        raise ContentError(
            f"it has {width} x {height} pixels: expected at least {LEAST_SIDE} a side"
        )
    if not whole:
        image.draft(None, (2 * LONGEST_SIDE, 2 * LONGEST_SIDE))
    most = HUNGRY.get(image.format or "", 1.0) * MOST_PIXELS
    unpacked = max(image.width * image.height, _tile(image))
    if unpacked > most:
        raise ContentError(
            f"it has {width} x {height} pixels, {unpacked / 1e6:.0f} million to unpack: "
            f"expected at most {most / 1e6:.0f}"
        )


def _comes_in_rows(data: bytes) -> bool:
    """False for a JPEG whose colours or details come one after the other: it is unpacked whole, even if reduced."""
    at, colours = 2, 0
    while data[:2] == b"\xff\xd8" and data[at : at + 1] == b"\xff" and at + 9 < len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in PROGRESSIVE:
            return False
        if marker in SEQUENTIAL:
            colours = data[at + 9]
        if marker == SCAN:
            return data[at + 4] == colours
        at += 2 + length
    return True


def _tile(image: Image.Image) -> int:
    """Pixels of a tile of a TIFF, which may be larger than the picture; 0 where there is none."""
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(322, 0)) * int(tags.get(323, 0))


def _reduced(image: Image.Image) -> Image.Image:
    """Colours that are numbers of a palette cannot be averaged: they are looked up first."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in {"1", "P", "PA"}:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return image


def _held(image: Image.Image) -> int:
    """How the camera was held; 1, upright, where that cannot be told."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # the picture is there all the same
        return 1


def _turned(image: Image.Image, held: int) -> Image.Image:
    return image.transpose(UPRIGHT[held]) if held in UPRIGHT else image


def _part(image: Image.Image, crop: Crop) -> Image.Image:
    left, top, width, height = crop
    edges = (left, top, left + width, top + height)
    box = [round(share * side) for share, side in zip(edges, 2 * image.size, strict=True)]
    if box[2] - box[0] < LEAST_SIDE or box[3] - box[1] < LEAST_SIDE:
        raise ContentError(
            f"that part of it has {box[2] - box[0]} x {box[3] - box[1]} pixels: expected at least {LEAST_SIDE} a side"
        )
    return image.crop((box[0], box[1], box[2], box[3]))


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in {"I", "F"}:
        shares = _stretched(np.asarray(image, dtype=np.float64))
        return Image.fromarray((shares * 255).round().astype(np.uint8)).convert("RGB")
    if image.mode == "CMYK" and image.info.get("icc_profile"):
        return _from_print(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    paper = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(paper, layered).convert("RGB")


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 for the least to 1 for the greatest: nothing says what they count."""
    known = np.nan_to_num(values, posinf=0, neginf=0)
    low, high = known.min(), known.max()
    return np.asarray((known - low) / max(high - low, np.finfo(np.float64).tiny))


def _from_print(image: Image.Image) -> Image.Image:
    """By the profile of the inks; plainly where that cannot be used."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        screen = ImageCms.createProfile("sRGB")
        shown = ImageCms.profileToProfile(image, profile, screen, outputMode="RGB")
        assert shown is not None, "it was not to be changed in place"
        return shown
    except (OSError, ImageCms.PyCMSError):
        return image.convert("RGB")
