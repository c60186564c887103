"""Frames of a video: from all over it, and where another scene begins.

bytes --PyAV--> looks, some a second --> EVENLY spaced, and SCENES after the greatest jumps --> pictures
"""
# ruff: noqa: PLC0415  PyAV brings a hundred libraries: not before there is a video

import heapq
import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recsys.errors import ContentError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

EVENLY, SCENES = 8, 8
"""Frames taken at equal distances, and at most so many where a scene begins."""

LOOK_SECONDS = 0.25
"""Between looks, at the least."""

KEPT = 64
"""Looks kept at the most: when there are more, every other one is dropped, and looks become rarer."""

JUMP = 30
"""Mean difference of two looks' brightness, of 255, from which on a scene begins."""

MOST_FRAME_PIXELS = 10_000_000
"""Of a frame: 4K has 8 million. A decoder holds a dozen of them."""

MOST_DECODED = 10_000_000_000
"""Pixels decoded: three minutes of full HD. Of what is longer, only key frames are."""

MOST_FRAMES = 20_000
"""Decoded of one video, however small they are."""

CONTAINERS = ((4, b"ftyp", "mov"), (0, b"\x1a\x45\xdf\xa3", "matroska"), (8, b"AVI ", "avi"))
"""Where the bytes stand that tell one, and the name of what reads it. None of these leads to other files."""

STILLS = {b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1"}
"""Kinds of pictures that lie in a container of videos."""


class _Look(NamedTuple):
    time: float
    grey: NDArray[np.float32]
    """(32, 32) brightness, 0 to 255."""
    picture: Callable[[], Image.Image]


def container_of(data: bytes) -> str | None:
    """What reads this video; None for what is none."""
    for at, mark, name in CONTAINERS:
        if data[at : at + len(mark)] == mark and data[8:12] not in STILLS:
            return name
    return None


def frames(data: bytes, container: str, longest: int, share: float = 1.0) -> list[Image.Image]:
    """RGB pictures in the order of the video, upright, at most `longest` a side: 16 at the most, one at the least.

    Where the file breaks off, or is longer than can be looked at, those of what comes before. share: of what is decoded
    at the most. Raises ContentError where not a single frame can be had.
    """
    import av

    try:
        with av.open(io.BytesIO(data), "r", format=container) as opened:
            if not opened.streams.video:
                raise ContentError("it has no pictures, only sound")
            return _chosen(_looks(opened, longest, share))
    except ContentError:
        raise
    except Exception as error:  # decoders fail in many ways on broken files
        said = error.strerror if isinstance(error, av.FFmpegError) else error
        raise ContentError(f"not a readable video: {said}") from None


def _chosen(looks: Iterator[_Look]) -> list[Image.Image]:
    """Evenly spaced ones, and those that begin a scene."""
    steady: list[tuple[float, Image.Image]] = []
    scenes: list[tuple[float, float, Image.Image]] = []
    every, last = 1, None
    for n, look in enumerate(looks):
        jump = 0.0 if last is None else float(np.abs(look.grey - last.grey).mean())
        last = look
        if jump > JUMP and (len(scenes) < SCENES or jump > scenes[0][0]):
            push = heapq.heappush if len(scenes) < SCENES else heapq.heappushpop
            push(scenes, (jump, -look.time, look.picture()))
        if n % every == 0:
            steady.append((look.time, look.picture()))
        if len(steady) > KEPT:
            steady, every = steady[::2], 2 * every
    if not steady:
        raise ContentError("not a readable video: not a single frame can be decoded")
    wanted = min(EVENLY, len(steady))
    even = [steady[int((n + 0.5) * len(steady) / wanted)] for n in range(wanted)]
    chosen = dict([*even, *((-time, picture) for _, time, picture in scenes)])
    return [chosen[time] for time in sorted(chosen)]


def _looks(opened: "InputContainer", longest: int, share: float) -> Iterator[_Look]:
    due = -np.inf
    for time, frame in _decoded(opened, opened.streams.video[0], share):
        if time >= due:
            due = time + LOOK_SECONDS
            grey = frame.to_ndarray(format="gray8", width=32, height=32).astype(np.float32)
            yield _Look(time, grey, partial(_picture, frame, longest))


def _decoded(
    opened: "InputContainer", stream: "VideoStream", share: float
) -> Iterator[tuple[float, "VideoFrame"]]:
    """Each frame with its second, until the file breaks off or enough was decoded."""
    import av

    context = stream.codec_context
    if context is None:
        raise ContentError("not a readable video: its codec is not known here")
    size = context.width * context.height
    _check_size(context.width, context.height)
    context.thread_count = 1  # one core each
    seconds = float(opened.duration or 0) / av.time_base
    most = share * MOST_DECODED
    if seconds * float(stream.average_rate or 25) * size > most:
        context.skip_frame = "NONKEY"
    decoded, told = 0, opened.decode(stream)
    for n in range(int(share * MOST_FRAMES)):
        try:
            frame = next(told)
        except (StopIteration, av.FFmpegError):
            return
        decoded += frame.width * frame.height
        if decoded > most or frame.width * frame.height > MOST_FRAME_PIXELS:
            return
        yield (n / 25 if frame.time is None else frame.time), frame


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_FRAME_PIXELS:
        raise ContentError(
            f"its frames have {width} x {height} pixels: "
            f"expected at most {MOST_FRAME_PIXELS / 1e6:.0f} million"
        )


def _picture(frame: "VideoFrame", longest: int) -> Image.Image:
    shrink = min(1.0, longest / max(frame.width, frame.height))
    size = (max(1, round(frame.width * shrink)), max(1, round(frame.height * shrink)))
    picture = Image.fromarray(frame.to_ndarray(format="rgb24", width=size[0], height=size[1]))
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture
