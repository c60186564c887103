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

MOST_PIXELS = 40_000_000
"""Unpacked at once; of JPEG far less is unpacked than there is."""

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Of the others, some start programs, and nobody sells by them."""

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


def decode(data: bytes, crop: Crop | None = None) -> list[Image.Image]:
    """RGB, upright, at most 512 a side, on white where it was transparent; of what is animated, the first picture.

    Of a video, frames from all over it. crop: only this part of each. Raises ContentError saying what is wrong with it.
    """
    container = container_of(data)
    if container is None:
        return [decode_image(data, crop)]
    shown = frames(data, container, LONGEST_SIDE)
    return shown if crop is None else [_part(frame, crop) for frame in shown]


def decode_image(data: bytes, crop: Crop | None = None) -> Image.Image:
    """The same of a photo."""
    if not data:
        raise ContentError("not a readable picture: the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            held = _held(image)
            _check(image, whole=crop is not None)
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
    if not whole and not image.info.get(
        "progressive"
    ):  # such a JPEG is unpacked whole all the same
        image.draft(None, (2 * LONGEST_SIDE, 2 * LONGEST_SIDE))
    unpacked = image.width * image.height
    if unpacked > MOST_PIXELS:
        raise ContentError(
            f"it has {width} x {height} pixels, {unpacked / 1e6:.0f} million to unpack: "
            f"expected at most {MOST_PIXELS / 1e6:.0f}"
        )


def _reduced(image: Image.Image) -> Image.Image:
    """Colours that are numbers of a palette cannot be averaged: they are looked up first."""
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
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image, dtype=np.float64) / 65_535)
    if image.mode in {"I", "F"}:
        return _grey(_stretched(np.asarray(image, dtype=np.float64)))
    if image.mode == "CMYK" and image.info.get("icc_profile"):
        return _from_print(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    paper = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(paper, layered).convert("RGB")


def _grey(shares: NDArray[np.float64]) -> Image.Image:
    """shares: 0 for black to 1 for white."""
    return Image.fromarray((shares * 255).round().astype(np.uint8)).convert("RGB")


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
