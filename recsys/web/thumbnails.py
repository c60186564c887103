"""Pictures of items in the sizes that pages show, made once and kept in `<home>/thumbnails`."""

import io
import tempfile
import threading
from hashlib import blake2b
from pathlib import Path

from PIL import Image, ImageOps

from recsys.embedding.decoding import decode
from recsys.embedding.pictures import Pictures
from recsys.errors import ContentError

SIDES = {"card": 400, "page": 512}
"""Longest side in pixels, by what it is for."""

SHAPE = 3 / 4
"""Of a card: width over height."""

TRIMMED = 0.15
"""Share of a picture that may be cut off so that it fills its card."""

QUALITY = 80

AT_ONCE = 2
"""Pictures unpacked at the same time: each may fill some 250 MB."""

NOTHING = b""
"""Kept in the place of a thumbnail where a picture cannot be read: it is tried once."""


class Thumbnails:
    """Those of one installation. Thread-safe, and safe beside other processes."""

    def __init__(self, pictures: Pictures, folder: Path) -> None:
        """The folder is made when something is kept."""
        self._pictures, self._folder = pictures, folder
        self._unpacking = threading.Semaphore(AT_ONCE)

    def key(self, location: str, size: str) -> str:
        """A name for a thumbnail: another one once the picture has changed. Raises ContentError if it is not there."""
        said = f"{SIDES[size]} {QUALITY} {TRIMMED} {self._pictures.version(location)} {location}"
        return blake2b(said.encode(errors="surrogatepass"), digest_size=16).hexdigest()

    def webp(self, location: str, size: str, key: str) -> bytes:
        """The file of a thumbnail. key: its name. Raises ContentError if the picture cannot be read."""
        place = self._folder / key[:2] / f"{key}.webp"
        try:
            found = place.read_bytes()
        except FileNotFoundError:
            found = self._made(location, SIDES[size])
            _keep(found, place)
        if found == NOTHING:
            raise ContentError(f"{location} is no picture that can be shown")
        return found

    def _made(self, location: str, side: int) -> bytes:
        with self._unpacking:
            try:
                shown = decode(self._pictures.read(location))
            except ContentError:
                return NOTHING
            image = shown[len(shown) // 2]  # a video begins in the dark
        image = _trimmed(image)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, "WEBP", quality=QUALITY, method=4)
        return file.getvalue()


def _trimmed(image: Image.Image) -> Image.Image:
    """In the shape of a card, where it nearly has it: what is cut off is at most `TRIMMED`."""
    wide, high = round(image.height * SHAPE), round(image.width / SHAPE)
    fitting = min(image.width, wide), min(image.height, high)
    kept = fitting[0] * fitting[1] / (image.width * image.height)
    return ImageOps.fit(image, fitting) if kept >= 1 - TRIMMED else image


def _keep(content: bytes, place: Path) -> None:
    """Whole or not at all: others read it meanwhile."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".part", delete=False) as file:
        file.write(content)
    Path(file.name).replace(place)
