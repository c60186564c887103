"""Search by pictures, by parts of them, by words among pictures and by items: over HTTP, with real models."""

import base64
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from apis import running
from photos import file_of, video_of
from PIL import Image, ImageDraw
from sqlalchemy import Engine

from recsys.catalogue.database import connect, migrate, writing
from recsys.catalogue.items import Item, upsert_items
from recsys.config import EmbeddingSettings, ServingSettings, Settings
from recsys.embedding.encoder import unit_rows
from recsys.identity import Floats
from recsys.rebuild import rebuild
from recsys.snapshot import Artefacts, Snapshots

COLOURS = ("red", "lime", "blue", "yellow", "black", "white")
SHAPES = ("disc", "bars", "cross")


class Quiet:
    """Progress that nobody watches."""

    def task(self, _name: str, _total: int | None = None):
        return lambda _: None


def photo(name: str) -> Image.Image:
    """Such as `red disc`."""
    colour, shape = name.split()
    image = Image.new("RGB", (96, 96), "grey")
    draw = ImageDraw.Draw(image)
    if shape == "disc":
        draw.ellipse((12, 12, 84, 84), fill=colour)
    else:
        for n in range(3):
            draw.rectangle((10 + 30 * n, 4, 24 + 30 * n, 92), fill=colour)
        if shape == "cross":
            draw.rectangle((4, 40, 92, 56), fill=colour)
    return image


NAMES = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]


@dataclass(frozen=True)
class Gallery:
    client: httpx.Client
    artefacts: Artefacts
    home: Path

    def search(self, **ask: object) -> list[str]:
        return [place["item_id"] for place in self.reply(**ask)["items"]]

    def reply(self, **ask: object) -> dict:
        reply = self.client.post("/v1/search", json={"limit": 18} | ask)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def order(self, kind: str, vector: Floats) -> list[str]:
        """All items, nearest to this raw vector first."""
        space = self.artefacts.spaces[kind]
        return self.near(kind, space.encode_query(vector[None, :])[0])

    def near(self, kind: str, whitened: Floats, without: Collection[str] = ()) -> list[str]:
        """The first of those that look the same: to a tiny model of random weights, bars do as crosses do."""
        space, alike = self.artefacts.spaces[kind], self.artefacts.facts.duplicates
        ids = self.artefacts.items.ids
        nearest = np.argsort(-(space.rows @ whitened), kind="stable")
        out = alike.with_others(ids.ordinals(list(without)))  # type: ignore[arg-type]
        nearest = nearest[~np.isin(nearest, out)]
        return ids.external(nearest[alike.first_of_each(nearest)])


def opened(home: Path, embedding: EmbeddingSettings) -> Iterator[Gallery]:
    """A catalogue of photos, built and served."""
    settings = Settings(home=home, embedding=embedding, serving=ServingSettings(poll_seconds=0.05))
    for name in NAMES:
        photo(name).save(home / f"{name}.png")
    engine: Engine = connect(settings)
    migrate(engine)
    items = [Item(id=name, title=f"A {name}", images=(f"{name}.png",)) for name in NAMES]
    with writing(engine) as connection:
        from datetime import UTC, datetime

        upsert_items(connection, items, datetime.now(UTC))
    rebuild(engine, settings, Quiet())
    engine.dispose()
    _, artefacts = Snapshots(home / "snapshots").load_current()
    with running(settings) as client:
        yield Gallery(client, artefacts, home)


@pytest.fixture(scope="module")
def gallery(
    tmp_path_factory: pytest.TempPathFactory, tiny_clip: Path, tiny_detector: Path
) -> Iterator[Gallery]:
    home = tmp_path_factory.mktemp("gallery")
    yield from opened(
        home,
        EmbeddingSettings(
            image_model=str(tiny_clip),
            detection_model=str(tiny_detector),
            image_root=home,
            precision="float32",
        ),
    )


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    home = tmp_path_factory.mktemp("offline")
    yield from opened(home, EmbeddingSettings(image_root=home))


def sent(image: Image.Image, kind: str = "PNG") -> str:
    return base64.b64encode(file_of(image, kind)).decode()


@pytest.mark.parametrize("name", NAMES[::4])
def test_a_photo_finds_its_item_first(gallery: Gallery, offline: Gallery, name: str) -> None:
    for shop in (gallery, offline):
        assert shop.search(picture=sent(photo(name)))[0] == name
        [first, *_] = shop.reply(picture=sent(photo(name)))["items"]
        assert first["reason"] == "looks like what you search for"


def test_a_form_with_a_file_says_the_same_as_base64(gallery: Gallery) -> None:
    data = file_of(photo("blue cross"), "WEBP")
    form = gallery.client.post(
        "/v1/search", files={"picture": ("a.webp", data)}, data={"ask": json.dumps({"limit": 5})}
    )
    assert form.status_code == 200, form.text
    plain = gallery.reply(picture=base64.b64encode(data).decode(), limit=5)
    assert form.json()["items"] == plain["items"]
    alone = gallery.client.post("/v1/search", files={"picture": ("a.webp", data)})
    assert len(alone.json()["items"]) == 10


@pytest.mark.parametrize(
    ("files", "data", "told"),
    [
        ({"ask": b"{}"}, {}, "picture: should be a file"),
        ({"photo": b"x"}, {}, "photo: is not known here"),
        ({"picture": b"x"}, {"ask": "["}, "is not valid JSON"),
        ({"picture": b"x"}, {"ask": "[]"}, "ask: should be a JSON object"),
        ({"picture": b"x"}, {"ask": '{"limit": 0}'}, "limit: should be greater"),
        ({"picture": b""}, {}, "nothing is searched for"),
    ],
)
def test_a_form_that_is_wrong_says_where(
    gallery: Gallery, files: dict, data: dict, told: str
) -> None:
    reply = gallery.client.post("/v1/search", files=files, data=data)
    assert reply.status_code == 422 and told in reply.json()["error"]["message"], reply.text


def test_a_part_of_a_picture_is_searched_by_alone(gallery: Gallery) -> None:
    both = Image.new("RGB", (192, 96))
    both.paste(photo("red disc"), (0, 0))
    both.paste(photo("blue bars"), (96, 0))
    for crop, name in (([0, 0, 0.5, 1], "red disc"), ([0.5, 0, 0.5, 1], "blue bars")):
        assert gallery.search(picture=sent(both), crop=crop)[0] == name
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down: what is left is right
    held = base64.b64encode(file_of(both.rotate(180), "PNG", exif=exif)).decode()
    assert gallery.search(picture=held, crop=[0, 0, 0.5, 1])[0] == "red disc"
    reply = gallery.client.post(
        "/v1/search", json={"picture": sent(both), "crop": [0, 0, 0.01, 0.01]}
    )
    assert reply.status_code == 422 and "expected at least 8" in reply.text


def test_words_find_pictures_as_sentence_transformers_itself_would(
    gallery: Gallery, tiny_clip: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_clip), device="cpu")
    for words in ("a red disc", "bars of blue"):
        vector = unit_rows(model.encode([{"text": words}]))[0]
        assert gallery.search(text=words, by="image") == gallery.order("image", vector)
    seen = unit_rows(model.encode([photo("lime disc")]))[0]
    assert gallery.search(picture=sent(photo("lime disc"))) == gallery.order("image", seen)


def test_pictures_are_searched_with_the_snapshots_encoder_whatever_the_settings_say(
    gallery: Gallery, offline: Gallery
) -> None:
    for shop, other in ((gallery, "offline"), (gallery, "none"), (offline, "none")):
        embedding = EmbeddingSettings(text_model="none", image_model=other, precision="float32")
        with running(Settings(home=shop.home, embedding=embedding)) as client:
            served = Gallery(client, shop.artefacts, shop.home)
            picture = sent(photo("red bars"))
            assert served.search(picture=picture) == shop.search(picture=picture)
            if shop is gallery:
                words = {"text": "a red disc", "by": "image"}
                assert served.search(**words) == shop.search(**words)


def test_an_encoder_that_reads_no_words_names_the_setting(offline: Gallery) -> None:
    reply = offline.client.post("/v1/search", json={"text": "red", "by": "image"})
    assert reply.status_code == 503
    assert "embedding.image_model" in reply.json()["error"]["message"]
    assert offline.search(text="a red disc")[0] == "red disc", "by texts it is found all the same"


def test_like_this_less_like_that(gallery: Gallery) -> None:
    ids = gallery.artefacts.items.ids
    for weights in ({"red disc": 1.0}, {"red disc": 2.0, "red bars": -1.0, "blue disc": 0.5}):
        wanted = [{"item_id": name, "weight": weight} for name, weight in weights.items()]
        for kind in ("text", "image"):
            rows = gallery.artefacts.spaces[kind].rows
            vector = sum(w * rows[ids.ordinals([name])[0]] for name, w in weights.items())
            nearest = gallery.near(kind, vector, weights)
            assert gallery.search(items=wanted, by=kind) == nearest
        shown = gallery.search(items=wanted)
        assert len(set(shown)) == len(shown) == len(nearest) and not set(shown) & set(weights)


@pytest.mark.parametrize("weights", [(1, -1), (0.1, 0.2, -0.3), (0,)])
def test_items_that_cancel_out_say_so(gallery: Gallery, weights: tuple[float, ...]) -> None:
    wanted = [{"item_id": "red disc", "weight": weight} for weight in weights]
    reply = gallery.client.post("/v1/search", json={"items": wanted})
    assert reply.status_code == 422 and "cancels out" in reply.text


def test_weights_matter_by_their_proportion(gallery: Gallery) -> None:
    weights = {"red disc": 1.0, "blue disc": -0.5}
    one, small = (
        gallery.search(items=[{"item_id": k, "weight": w * by} for k, w in weights.items()])
        for by in (1, 1e-30)
    )
    assert one == small


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[" * 100_000, "application/json"),
        (b'{"limit":' + b"1" * 5_000 + b"}", "application/json"),
        (b"\xff", "application/json"),
        (b"x", "multipart/form-data"),
        (b"--b\r\n", "multipart/form-data; boundary=b; charset=utf-7"),
    ],
)
def test_what_cannot_be_read_is_no_fault_of_ours(gallery: Gallery, body: bytes, kind: str) -> None:
    reply = gallery.client.post("/v1/search", content=body, headers={"content-type": kind})
    assert reply.status_code in {400, 422}, reply.text
    assert reply.json()["error"]["type"] == "invalid_request"


def test_a_picture_by_which_nobody_knows_its_codec_is_told(gallery: Gallery) -> None:
    unknown = video_of([photo("red disc")]).replace(b"avc1", b"zzzz")
    ask = {"picture": base64.b64encode(unknown).decode()}
    reply = gallery.client.post("/v1/search", json=ask)
    assert reply.status_code == 422 and "codec" in reply.text


def test_words_and_a_picture_are_one_search(gallery: Gallery) -> None:
    reply = gallery.reply(text="a lime cross", picture=sent(photo("red disc")), explain=True)
    parts = reply["items"][0]["parts"]
    assert {"text", "image"} <= set(parts)
    best = [place["item_id"] for place in reply["items"][:4]]
    assert {"red disc", "lime cross"} & set(best) and best != gallery.search(text="a lime cross")[
        :4
    ]


def test_filters_hold_for_pictures(gallery: Gallery) -> None:
    found = gallery.search(picture=sent(photo("red disc")), exclude=["red disc"], limit=3)
    assert len(found) == 3 and "red disc" not in found
    none = gallery.search(picture=sent(photo("red disc")), where={"brands": ["nobody's"]})
    assert none == []


def test_things_in_a_picture_are_proposed_and_can_be_searched_by(gallery: Gallery) -> None:
    picture = sent(photo("red disc"))
    regions = gallery.reply(picture=picture)["regions"]
    assert regions and all(0 <= edge <= 1 for region in regions for edge in region["crop"])
    assert [r["score"] for r in regions] == sorted((r["score"] for r in regions), reverse=True)
    again = gallery.reply(picture=picture, crop=regions[0]["crop"])
    assert len(again["items"]) == len(gallery.reply(text="red")["items"]) > 9
    assert "regions" not in again


def test_pages_go_on_with_a_picture(gallery: Gallery) -> None:
    ask: dict[str, object] = {"picture": sent(photo("red disc")), "limit": 7}
    first = gallery.reply(**ask)
    second = gallery.reply(**ask, cursor=first["next"])
    assert "regions" in first and "regions" not in second, "they were told once"
    shown = [place["item_id"] for page in (first, second) for place in page["items"]]
    assert shown == gallery.search(picture=ask["picture"])[:14]
    other = gallery.client.post(
        "/v1/search",
        json={"picture": sent(photo("lime disc")), "limit": 7, "cursor": first["next"]},
    )
    assert other.status_code == 422, "it belongs to another picture"


@pytest.mark.parametrize(
    ("data", "told"),
    [(b"no picture", "not a readable picture"), (b"", "nothing is searched for")],
)
def test_what_is_no_picture_is_told(gallery: Gallery, data: bytes, told: str) -> None:
    reply = gallery.client.post("/v1/search", json={"picture": base64.b64encode(data).decode()})
    assert reply.status_code == 422 and told in reply.json()["error"]["message"], reply.text


def test_a_picture_has_no_text(gallery: Gallery) -> None:
    reply = gallery.client.post(
        "/v1/search", json={"picture": sent(photo("red disc")), "by": "text"}
    )
    assert reply.status_code == 422 and "by: a picture has no text" in reply.text


def test_no_way_of_searching_fails_when_a_server_starts(
    offline: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    embedding = EmbeddingSettings(image_root=offline.home)
    with running(Settings(home=offline.home, embedding=embedding)):
        assert "failed" not in caplog.text
