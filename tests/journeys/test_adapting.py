"""A shop teaches its encoder, as its engineer would from the command line."""

from pathlib import Path

import numpy as np
import pytest
from command_line import Recsys
from fastapi.testclient import TestClient
from materials import Quiet, alike, events, items, shop, titles_first

from recsys import adapting
from recsys.config import Settings
from recsys.embedding import adapters
from recsys.errors import BuildError, InputError
from recsys.rebuild import read_world, rebuild
from recsys.serving.app import create_app
from recsys.snapshot import Snapshots


def test_what_people_like_together_comes_together(settings: Settings) -> None:
    settings = titles_first(settings)
    engine = shop(settings, events(by_material=True))
    rebuild(engine, settings, Quiet())
    before = alike(settings, "oak-chair")
    lesson = adapting.adapt(engine, settings, "text", {}, Quiet())
    gain = lesson.figures[lesson.decided_by][adapting.GAIN]
    assert lesson.kept and gain.low is not None and gain.low > 0
    again = rebuild(engine, settings, Quiet(), force=True)
    assert again.changed, "the same world and another encoder are another build"
    assert before < 0.6
    assert alike(settings, "oak-chair") > 0.8
    _, made = Snapshots(settings.home / "snapshots").load_current()
    assert made.spaces["text"].projection.taught
    with TestClient(create_app(settings)) as client:
        found = client.post("/v1/search", json={"text": "oak", "limit": 10}).json()["items"]
    assert sum(each["item_id"].startswith("oak-") for each in found) >= 8
    assert not rebuild(engine, settings, Quiet()).changed

    assert adapting.forget(settings, "text") and not adapting.forget(settings, "text")
    assert rebuild(engine, settings, Quiet(), force=True).changed
    assert alike(settings, "oak-chair") == before


def test_what_is_liked_by_chance_teaches_nothing(settings: Settings) -> None:
    settings = titles_first(settings)
    engine = shop(settings, events(by_material=False))
    lesson = adapting.adapt(engine, settings, "text", {}, Quiet())
    assert not lesson.kept
    assert adapters.adapter_of(lesson.card, settings.home / "vectors") is None


def test_what_is_kept_never_saw_the_newest_events(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those that validation and test ask about: likes of others there change nothing of what was learned."""
    monkeypatch.setattr(adapting, "FLOORS", (0.01,))
    settings = titles_first(settings)
    happened = sorted(events(by_material=True), key=lambda event: event.time)
    newest = round(0.15 * len(happened))
    rng = np.random.default_rng(5)
    swapped = rng.permutation([event.item_id for event in happened[-newest:]])
    others = [
        *happened[:-newest],
        *(
            e.model_copy(update={"item_id": i})
            for e, i in zip(happened[-newest:], swapped.tolist(), strict=True)
        ),
    ]
    held_out = settings.evaluation.test + settings.evaluation.validation
    assert newest < held_out * len(happened)
    made = []
    for name, log in (("one", happened), ("other", others)):
        own = settings.model_copy(update={"home": tmp_path / name})
        pupil_of = adapting.Pupil.of
        engine = shop(own, log)
        world = read_world(engine, Quiet())
        lesson = adapting.adapt(engine, own, "text", {}, Quiet())
        found = adapting.embed(world.items, own, Quiet())["text"].table
        taught, _ = adapting._by_events(pupil_of(world.items, found), world, own)
        made.append((taught.taught, lesson.figures[adapting.NEW][adapting.TAUGHT].value))
    assert made[0][0] == made[1][0]
    assert made[0][1] != made[1][1]


def test_attributes_teach_where_there_are_no_events(settings: Settings) -> None:
    settings = titles_first(settings)
    engine = shop(settings, [])
    with pytest.raises(BuildError, match="import more events, or teach by attributes"):
        adapting.adapt(engine, settings, "text", {}, Quiet())
    with pytest.raises(InputError, match=r"no item has 'attributes\.colour'"):
        adapting.adapt(engine, settings, "text", {"attributes.colour": 1}, Quiet())
    lesson = adapting.adapt(engine, settings, "text", {"brand": 1}, Quiet())
    figures = lesson.figures["brand, among themselves"]
    assert lesson.kept and figures[adapting.TAUGHT].value > figures[adapting.WHITENED].value + 0.2


def test_a_damaged_adapter_is_told_by_its_file(settings: Settings) -> None:
    settings = titles_first(settings)
    engine = shop(settings, [])
    lesson = adapting.adapt(engine, settings, "text", {"brand": 1}, Quiet())
    (path,) = (settings.home / "vectors" / lesson.card.store).glob("adapter-*.npz")
    path.write_bytes(path.read_bytes()[:1_000])
    with pytest.raises(Exception, match=r"adapter-.*\.npz is not a readable adapter"):
        rebuild(engine, settings, Quiet(), force=True)


def test_on_the_command_line(recsys: Recsys, tmp_path: Path) -> None:
    feed = tmp_path / "shop.csv"
    rows = [f"{item.id},{item.title},{item.brand}" for item in items()]
    feed.write_text("\n".join(["id,title,brand", *rows]), encoding="utf-8")
    told = {"RECSYS_EMBEDDING__TEXT_FIELDS": '["title"]'}
    assert recsys("migrate").returncode == 0
    assert recsys("import", "items", str(feed)).returncode == 0
    assert "expected NAME or NAME=WEIGHT" in recsys("adapt", "--by", "brand=much").stderr
    learned = recsys("adapt", "--by", "brand=2", **told)
    assert learned.returncode == 0
    assert "brand, among themselves" in learned.stdout and "Kept: +" in learned.stdout
    assert "the next rebuild whitens" in recsys("adapt", "--forget", **told).stdout
    assert "nothing to forget" in recsys("adapt", "--forget", **told).stdout
