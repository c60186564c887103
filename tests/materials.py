"""A shop in which a title's thing speaks louder than its material, and people like things of one material."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import Engine

from recsys.catalogue.database import connect, migrate, writing
from recsys.catalogue.events import Event, append_events
from recsys.catalogue.items import Item, upsert_items
from recsys.config import Settings
from recsys.snapshot import Snapshots

MATERIALS = (
    "oak", "steel", "glass", "leather", "bamboo", "marble", "wool", "brass", "cotton", "clay",
)  # fmt: skip

THINGS = [
    "chair",
    "table",
    "lamp",
    "desk",
    "shelf",
    "bench",
    "stool",
    "mirror",
    "clock",
    "vase",
    "tray",
    "bowl",
    "box",
    "frame",
    "screen",
    "rack",
    "cabinet",
    "hook",
    "handle",
    "bed",
    "sofa",
    "candle",
    "knife",
    "spoon",
    "basket",
    "curtain",
    "rug",
    "pillow",
    "blanket",
    "kettle",
]

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Quiet:
    def task(self, name: str, total: int | None = None) -> object:
        del name, total
        return lambda _: None


def items() -> list[Item]:
    """Titles in which the thing speaks louder than the material."""
    return [
        Item(id=f"{material}-{thing}", title=f"{thing.title()} in {material}", brand=material)
        for material in MATERIALS
        for thing in THINGS
    ]


def events(by_material: bool, seed: int = 0, people: int = 1_000) -> list[Event]:
    """Everybody likes ten things, of one material or of any."""
    rng, every = np.random.default_rng(seed), items()
    made = []
    for person in range(people):
        material = MATERIALS[rng.integers(len(MATERIALS))]
        liked = [item for item in every if item.brand == material] if by_material else every
        for n, place in enumerate(rng.choice(len(liked), 10, replace=False)):
            time = NOW - timedelta(hours=float(rng.uniform(0, 4_000)))
            name = f"{person}.{n}"
            made.append(
                Event(
                    event_id=name,
                    user_id=f"u{person}",
                    item_id=liked[place].id,
                    type="like",
                    time=time,
                )
            )
    return made


def shop(settings: Settings, happened: Sequence[Event]) -> Engine:
    engine = connect(settings)
    migrate(engine)
    with writing(engine) as connection:
        upsert_items(connection, items(), NOW)
        append_events(connection, happened)
    return engine


def titles_first(settings: Settings) -> Settings:
    """The brand is not in the text, only in the title's last word."""
    embedding = settings.embedding.model_copy(update={"text_fields": ("title",)})
    return settings.model_copy(update={"embedding": embedding})


def alike(settings: Settings, item: str) -> float:
    """Share of its ten nearest that are of the same material."""
    _, made = Snapshots(settings.home / "snapshots").load_current()
    near = made.spaces["text"].neighbours[made.items.ids.ordinals([item])[0], :10]
    names = made.items.ids.external(near)
    return float(np.mean([name.partition("-")[0] == item.partition("-")[0] for name in names]))
