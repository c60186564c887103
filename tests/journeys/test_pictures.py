"""A catalogue whose pictures lie at addresses: from its file to slates by looks."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_line import Recsys
from shops import PHOTO, Shop, open_shop

from recsys.catalogue.database import connect, writing
from recsys.catalogue.items import Item, upsert_items
from recsys.config import Settings
from recsys.embedding.pictures import Fetched
from recsys.refresh import IMPATIENT
from recsys.snapshot import Snapshots


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as shop:
        yield shop


def feed(folder: Path, shop: Shop) -> str:
    """Five items: two show the same, one has two pictures, one has none, and of one nothing comes."""
    at = f"http://{shop.place}"
    items = [
        {"item_id": "a", "title": "A lamp", "images": [f"{at}/photo.png?a"]},
        {"item_id": "b", "title": "A chair", "images": [f"{at}/photo.png?b", f"{at}/moved.png"]},
        {"item_id": "c", "title": "A table", "images": [f"{at}/gone.png"]},
        {"item_id": "d", "title": "A rug"},
        {"item_id": "e", "title": "A shelf", "images": [f"{at}/inside.png", f"{at}/photo.png?a"]},
    ]
    file = folder / "items.jsonl"
    file.write_text("".join(json.dumps(item) + "\n" for item in items))
    return str(file)


def test_pictures_come_with_the_import_and_a_rebuild_asks_only_for_what_is_missing(
    recsys: Recsys, tmp_path: Path, shop: Shop
) -> None:
    home = tmp_path / "data"
    allowed = {"RECSYS_FETCHING__PRIVATE_HOSTS": json.dumps([shop.place])}
    with open_shop() as other:
        shop.elsewhere = other.place
        assert recsys("migrate").returncode == 0
        told = recsys("import", "items", feed(tmp_path, shop), **allowed)
        assert told.returncode == 0 and "3 of 5 pictures fetched" in told.stdout
        assert "item c: " in told.stderr and "the server answers 404" in told.stderr
        assert "item e: " in told.stderr and "is not a public address" in told.stderr
        fetched = Fetched(home / "pictures")
        assert fetched.read(f"http://{shop.place}/photo.png?a") == PHOTO

        asked = shop.asked.copy()
        built = recsys("rebuild", **allowed)
        assert built.returncode == 0 and "item c: " in built.stderr
        more = shop.asked - asked
        assert set(more) == {"/gone.png", "/inside.png"}, "what did not come is asked for again"
        assert not other.asked
    listed = (home / "rejects" / "contents.jsonl").read_text().splitlines()
    assert [json.loads(line)["item"] for line in listed] == ["c", "e"]
    _, artefacts = Snapshots(home / "snapshots").load_current()
    shown = artefacts.spaces["image"].present
    assert dict(zip(artefacts.items.ids, shown.tolist(), strict=True)) == {
        "a": True,
        "b": True,
        "c": False,
        "d": False,
        "e": True,
    }


def test_without_an_encoder_of_pictures_none_is_fetched(
    recsys: Recsys, tmp_path: Path, shop: Shop
) -> None:
    recsys("migrate")
    told = recsys("import", "items", feed(tmp_path, shop), RECSYS_EMBEDDING__IMAGE_MODEL="none")
    assert told.returncode == 0 and not shop.asked


def test_a_refresh_brings_pictures_from_their_addresses_and_waits_for_none_for_long(
    recsys: Recsys, tmp_path: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(IMPATIENT, "seconds", 1.0)
    home, allowed = tmp_path / "data", {"RECSYS_FETCHING__PRIVATE_HOSTS": json.dumps([shop.place])}
    recsys("migrate")
    recsys("import", "items", feed(tmp_path, shop), **allowed)
    assert recsys("rebuild", **allowed).returncode == 0
    at = f"http://{shop.place}"
    engine = connect(Settings(home=home))
    new = [
        Item(id="new", title="A stool", images=(f"{at}/photo.png?new",)),
        Item(id="slow", title="A bench", images=(f"{at}/silence.png",)),
    ]
    with writing(engine) as connection:
        upsert_items(connection, new, datetime.now(UTC))
    engine.dispose()
    done = recsys("refresh", **allowed)
    assert done.returncode == 0, done.stderr
    _, artefacts = Snapshots(home / "snapshots").load_current()
    shown = dict(zip(artefacts.items.ids, artefacts.spaces["image"].present.tolist(), strict=True))
    assert shown["new"] and not shown["slow"]
