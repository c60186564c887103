"""An item listed twice is told of by the build, listed by a command, and found by a refresh as well."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from command_line import Recsys
from photos import file_of, noise

from recsys.catalogue.database import connect, writing
from recsys.catalogue.items import Item, upsert_items
from recsys.config import Settings
from recsys.ranking.candidates import Query
from recsys.ranking.recommender import Recommender
from recsys.refresh import Refresher
from recsys.snapshot import Snapshots

THINGS = ("lamp", "chair", "table", "rug", "shelf", "sofa", "mirror", "vase", "clock", "stool")
COLOURS = ("red", "green", "blue")


@pytest.fixture
def home(recsys: Recsys, tmp_path: Path) -> Path:
    """Thirty things, every second with a photo; one without is listed twice, and so is the photo of one."""
    items = [
        {"item_id": f"{thing}-{colour}", "title": f"{colour} {thing}", "description": f"A {thing}."}
        for thing in THINGS
        for colour in COLOURS
    ]
    for n, item in enumerate(items[::2]):
        (tmp_path / f"{n}.png").write_bytes(file_of(noise(n), "PNG"))
        item["images"] = [f"{n}.png"]
    items.append({"item_id": "sofa-again", "title": "RED SOFA!", "description": "A sofa."})
    (tmp_path / "copy.bmp").write_bytes(file_of(noise(4), "BMP"))
    items.append({"item_id": "seat", "title": "A seat", "images": ["copy.bmp"]})
    feed = tmp_path / "items.jsonl"
    feed.write_text("".join(json.dumps(item) + "\n" for item in items))
    assert recsys("migrate").returncode == 0
    assert recsys("import", "items", str(feed)).returncode == 0
    return tmp_path / "data"


def test_near_duplicates_are_told_listed_and_found_by_a_refresh(recsys: Recsys, home: Path) -> None:
    built = recsys("rebuild")
    assert built.returncode == 0, built.stderr
    assert "4 items are near-duplicates of others: `recsys duplicates` lists them" in built.stdout
    listed = [json.loads(line) for line in recsys("duplicates", "--json").stdout.splitlines()]
    assert listed == [
        {"items": ["seat", "table-blue"], "titles": ["A seat", "blue table"]},
        {"items": ["sofa-again", "sofa-red"], "titles": ["RED SOFA!", "red sofa"]},
    ]
    table = recsys("duplicates").stdout
    assert "sofa-again" in table and "RED SOFA!" in table

    settings = Settings(home=home)
    engine = connect(settings)
    again = Item(id="rug again", title="Red: rug", description="a rug")
    with writing(engine) as connection:
        upsert_items(connection, [again], datetime.now(UTC))
    manifest = Refresher(engine, settings).refresh()
    engine.dispose()
    assert manifest is not None and manifest.counts["near_duplicates"] == 6
    artefacts = Snapshots(home / "snapshots").load_current()[1]
    rugs = artefacts.items.ids.ordinals(["rug again", "rug-red"])  # type: ignore[list-item]
    assert len(np.unique(artefacts.facts.duplicates.group[rugs])) == 1
    served = Recommender.of(artefacts, settings.ranking)
    slate = [item.item for item in served.recommend(Query(datetime.now(UTC), 40)).items]
    assert len(slate) == len(artefacts.items) - 3
    for page in rugs:
        query = Query(datetime.now(UTC), 40, context=np.array([page]))
        shown = {item.item for item in served.recommend(query).items}
        assert not shown & {"rug again", "rug-red"}
