"""A video is shown by frames from all over it."""

import numpy as np
import pytest
from photos import noise, turned, video_of
from PIL import Image

from recsys.embedding.decoding import decode
from recsys.errors import ContentError

RED, GREEN, BLUE = (Image.new("RGB", (320, 240), name) for name in ("red", "lime", "blue"))


def names(shown: list[Image.Image]) -> list[str]:
    """r, g or b, whichever is strongest in the middle of each."""
    middles = [frame.getpixel((frame.width // 2, frame.height // 2)) for frame in shown]
    return ["rgb"[int(np.argmax(middle))] for middle in middles]


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("mp4", "libx264"), ("webm", "libvpx-vp9"), ("avi", "mpeg4"), ("matroska", "libx264")],
)
def test_each_scene_is_shown_in_its_order(kind: str, codec: str) -> None:
    shown = names(decode(video_of([RED, GREEN, BLUE], 2, kind, codec)))
    assert shown == sorted(shown, key="rgb".index) and set(shown) == set("rgb")


def test_eight_frames_are_taken_evenly_where_nothing_changes() -> None:
    assert len(decode(video_of([RED], 20))) == 8


def test_a_short_scene_is_not_missed() -> None:
    """Half a second of two minutes: eight even frames would pass it by."""
    seconds = [RED] * 241
    seconds[101] = GREEN
    shown = names(decode(video_of(seconds, 0.5)))
    assert shown.count("g") == 1 and len(shown) == 10  # and the one where it is red again


def test_frames_are_of_few_pixels_and_upright() -> None:
    wide = video_of([Image.new("RGB", (1_280, 320), "red")], 1)
    assert {frame.size for frame in decode(wide)} == {(512, 128)}
    half = Image.new("RGB", (320, 160), "red")
    half.paste("blue", (0, 0, 160, 160))  # the left half
    [frame, *_] = decode(turned(video_of([half], 1)))
    assert frame.size == (160, 320)
    assert names([frame.crop((0, 0, 160, 160))]) != names([frame.crop((0, 160, 160, 320))])


def test_a_video_of_one_frame_is_a_picture() -> None:
    assert len(decode(video_of([GREEN], 0.1))) == 1


def test_what_breaks_off_shows_what_comes_before() -> None:
    whole = video_of([RED, GREEN, BLUE, RED], 3, "matroska")
    pictures = video_of([noise(n, (320, 240)) for n in range(4)], 3, "matroska")
    assert 0 < len(decode(pictures[: len(pictures) // 2])) <= len(decode(pictures))
    assert names(decode(whole))[0] == "r"


def test_of_what_has_too_many_frames_the_first_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.embedding.video.MOST_FRAMES", 30)
    assert set(names(decode(video_of([RED, GREEN, BLUE], 2)))) == {"r", "g"}


def test_frames_too_large_to_hold_are_refused() -> None:
    with pytest.raises(ContentError, match="3872 x 3872 pixels: expected at most 10 million"):
        decode(video_of([Image.new("RGB", (3_872, 3_872))], 0.1))
