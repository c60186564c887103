"""Pictures of items: photos as small thumbnails, made once; a cover where there is none to show."""

import io
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from photos import file_of, noise
from PIL import Image
from storefronts import Shop

from recsys.config import Settings
from recsys.embedding.pictures import Pictures
from recsys.errors import ContentError
from recsys.web.thumbnails import Thumbnails

PHOTO, NONE = "space-1", "space-2"


def got(shop: Shop, path: str, **headers: str) -> httpx.Response:
    return shop.client.get(path, headers=headers)


def test_a_photo_comes_as_a_small_thumbnail(shop: Shop) -> None:
    reply = got(shop, f"/pictures/{PHOTO}")
    assert reply.headers["content-type"] == "image/webp"
    image = Image.open(io.BytesIO(reply.content))
    assert image.size == (270, 360), "of 300 x 360, which is nearly the shape of a card"
    assert len(reply.content) < 10_000
    assert list((shop.settings.home / "thumbnails").glob("*/*.webp"))


def test_an_item_without_a_picture_gets_a_cover(shop: Shop) -> None:
    reply = got(shop, f"/pictures/{NONE}")
    assert reply.headers["content-type"] == "image/svg+xml"
    assert ">SPACE</text>" in reply.text
    assert ">film 2</text>" in reply.text
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("item_id", [PHOTO, NONE])
def test_a_browser_that_has_it_is_sent_nothing(shop: Shop, item_id: str) -> None:
    tag = got(shop, f"/pictures/{item_id}").headers["etag"]
    again = got(shop, f"/pictures/{item_id}", **{"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag


def test_a_larger_one_is_another_one(shop: Shop) -> None:
    small, large = (got(shop, f"/pictures/{PHOTO}?size={size}") for size in ("card", "page"))
    assert small.headers["etag"] != large.headers["etag"]
    assert got(shop, f"/pictures/{PHOTO}?size=huge").headers["etag"] == small.headers["etag"]


def test_there_is_none_of_an_unknown_item(shop: Shop) -> None:
    assert got(shop, "/pictures/nobody").status_code == 404


def test_an_item_whose_picture_is_broken_gets_a_cover(shop: Shop) -> None:
    (shop.settings.embedding.image_root / "broken.jpg").write_bytes(b"no picture")
    for n, image in enumerate(("broken.jpg", "gone.jpg", "http://127.0.0.1/never-fetched.jpg")):
        key = f"broken/{n}"
        put = shop.client.put(
            f"/v1/items/{quote(key, safe='')}",
            json={"title": "Odd", "images": [image], "available": False},
        )
        assert put.status_code == 201
        for _ in range(2):
            assert (
                got(shop, f"/pictures/{quote(key, safe='')}").headers["content-type"]
                == "image/svg+xml"
            )


@pytest.fixture
def thumbnails(tmp_path: Path) -> Thumbnails:
    settings = Settings(home=tmp_path / "home")
    pictures = Pictures.of(settings)
    return Thumbnails(Pictures(tmp_path, pictures.fetched), tmp_path / "thumbnails")


def test_a_picture_that_changed_is_made_anew(thumbnails: Thumbnails, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(file_of(noise(1), "PNG"))
    first = thumbnails.key("a.png", "card")
    before = thumbnails.webp("a.png", "card", first)
    (tmp_path / "a.png").write_bytes(file_of(noise(2, (90, 40)), "PNG"))
    second = thumbnails.key("a.png", "card")
    assert second != first
    assert thumbnails.webp("a.png", "card", second) != before


@pytest.mark.parametrize(
    ("size", "shown"),
    [((600, 900), (300, 400)), ((900, 900), (400, 400)), ((800, 300), (400, 150))],
)
def test_only_a_little_is_cut_off_to_fill_a_card(
    thumbnails: Thumbnails, tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    (tmp_path / "a.png").write_bytes(file_of(noise(1, size), "PNG"))
    made = thumbnails.webp("a.png", "card", thumbnails.key("a.png", "card"))
    assert Image.open(io.BytesIO(made)).size == shown


def test_a_thumbnail_is_made_once(thumbnails: Thumbnails, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(file_of(noise(1), "PNG"))
    key = thumbnails.key("a.png", "card")
    made = thumbnails.webp("a.png", "card", key)
    (tmp_path / "a.png").unlink()
    assert thumbnails.webp("a.png", "card", key) == made
    assert not list(tmp_path.rglob("*.part"))


def test_a_broken_one_is_tried_once(thumbnails: Thumbnails, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    key = thumbnails.key("a.png", "card")
    for _ in range(2):
        with pytest.raises(ContentError):
            thumbnails.webp("a.png", "card", key)
    with pytest.raises(ContentError):
        thumbnails.key("none.png", "card")
