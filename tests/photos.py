"""Pictures and videos for tests, made here: good ones, odd ones, and 200 that a shop should not have."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence

import av
import numpy as np
from PIL import Image

QUARTER_TURN = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
"""The matrix of a track that is shown turned by 90 degrees."""


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(number: int = 0, size: tuple[int, int] = (90, 60)) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def video_of(
    scenes: Sequence[Image.Image],
    seconds: float = 2.0,
    kind: str = "mp4",
    codec: str = "libx264",
    rate: int = 10,
) -> bytes:
    """Each scene is shown so many seconds."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "1000"})
        stream.width, stream.height = scenes[0].size
        stream.pix_fmt = "yuv420p"
        for scene in scenes:
            for _ in range(int(rate * seconds)):
                container.mux(stream.encode(av.VideoFrame.from_image(scene)))
        container.mux(stream.encode())
    return file.getvalue()


def turned(video: bytes) -> bytes:
    """The same video (MP4), to be shown turned by 90 degrees."""
    at = video.index(b"tkhd") + 4 + 40  # version 0: the matrix stands behind 40 bytes
    return video[:at] + QUARTER_TURN + video[at + len(QUARTER_TURN) :]


def bomb(width: int, height: int) -> bytes:
    """A PNG of one colour and of this size, however little of it is there."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\0" * ((width + 7) // 8)) * min(height, 3_000), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND")


def one_colour_after_another(jpeg: bytes) -> bytes:
    """A JPEG as if each of its colours had a scan of its own: its first scan tells of one colour only."""
    at = jpeg.index(b"\xff\xda")
    return jpeg[: at + 4] + b"\x01" + jpeg[at + 5 :]


def _chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bad() -> Iterator[tuple[str, bytes]]:
    """Files that show nothing: name and content."""
    whole = {
        kind: file_of(noise(1, (320, 200)), kind)
        for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
    }
    whole["MP4"] = video_of([noise(2, (64, 64))])
    for kind, data in whole.items():
        for share in (0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9):
            yield f"cut-{kind}-{share}", data[: int(share * len(data))]
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        for width, height in ((1, 1), (1, 500), (700, 2)):
            small = file_of(Image.new("RGB", (width, height)), kind)
            yield f"small-{kind}-{width}x{height}", small
    for side in (7_000, 9_000, 12_000, 20_000, 40_000, 65_000):
        for height in (side, side // 2, 2 * side):
            if side * height > 40_000_000:
                yield f"bomb-{side}x{height}", bomb(side, height)
    for n in range(30):
        junk = np.random.default_rng(n).integers(0, 256, 50 * (n + 1), dtype=np.uint8)
        yield f"junk-{n}", junk.tobytes()
        marked = whole["JPEG"][:20] + junk.tobytes()
        yield f"junk-with-a-head-{n}", marked
    for n, text in enumerate(
        (b"", b"<html>404</html>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0")
    ):
        yield f"text-{n}", text
        yield f"text-{n}-long", text * 5_000


def odd() -> Iterator[tuple[str, bytes]]:
    """Files that show something, if one knows how to look at them."""
    for n, mode in enumerate(("1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr")):
        odd = noise(n).convert("L").convert(mode) if mode in {"1", "LA"} else noise(n).convert(mode)
        yield f"mode-{mode}", file_of(odd, "TIFF")
    for name, numbers, kind in (
        ("grey-16", np.arange(6_000, dtype=np.uint16).reshape(60, 100), "PNG"),
        ("numbers", np.eye(50, dtype=np.float32), "TIFF"),
        ("not-numbers", np.full((50, 50), np.nan, dtype=np.float32), "TIFF"),
    ):
        yield name, file_of(Image.fromarray(numbers), kind)
    for kind in ("GIF", "WEBP", "PNG", "AVIF"):
        for count in (2, 30):
            more = [noise(n) for n in range(1, count)]
            moving = file_of(noise(0), kind, save_all=True, append_images=more)
            yield f"moving-{kind}-{count}", moving
    for n in range(5):
        yield f"video-{n}", video_of([noise(n, (64, 64)), noise(n + 9, (64, 64))], 0.5)
    wide = {
        "JPEG": (30_000, 40),
        "PNG": (5_000, 4_500),
        "WEBP": (16_000, 100),
        "GIF": (5_000, 5_000),
    }
    for kind, size in wide.items():
        yield f"wide-{kind}", file_of(Image.new("RGB", size, "teal"), kind)
    yield "progressive", file_of(Image.new("RGB", (5_000, 5_000)), "JPEG", progressive=True)
