"""A synthetic catalogue to measure speed on: database and published snapshot, by the product's own code.

usage: python scripts/bench/make_world.py --home DIR [--items 10000] [--users N] [--events N]

Vectors are drawn, not encoded (worldly.py), with the card of the product's text encoder, so that searches
work too. Items, events, models, index and snapshot come about as in a rebuild; nothing is evaluated, and the
blend has a weight for every source. Then `RECSYS_HOME=DIR recsys serve` serves it.
"""

import argparse
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from sqlalchemy import Engine
from worldly import TYPES, Drawn, draw

from recsys.catalogue.database import connect, migrate, writing
from recsys.catalogue.events import EVENTS, Event, append_events
from recsys.catalogue.items import Item, upsert_items
from recsys.catalogue.tables import is_had
from recsys.config import PreferenceSettings, Settings
from recsys.embedding.encoder import EncoderCard
from recsys.embedding.text import load_text_encoder
from recsys.embedding.vectors import Embedded, VectorTable
from recsys.errors import EncoderError, InputError, RecsysError
from recsys.evaluation.result import Evaluation
from recsys.identity import Floats
from recsys.progress import Bars
from recsys.rebuild import arrange, describe, fit, inputs_digest, publish, read_world
from recsys.snapshot import Manifest, Snapshots, new_id
from recsys.threads import limit_threads

AT_ONCE = 20_000
"""Rows of one transaction."""

MODELS = PreferenceSettings(
    search=False, factors=64, factors_iterations=5, linear_memory_gb=0.2, transitions_span=10
)
"""Models of the usual form, of which the linear one covers 5,000 items, so that the largest world takes minutes."""

WEIGHTS = {
    "history": {
        "linear": 0.2,
        "cooccurrence": 0.15,
        "transitions": 0.15,
        "factors": 0.2,
        "text": 0.1,
        "text_taste": 0.1,
        "popular": 0.05,
        "trending": 0.05,
    },
    "new items": {"text_taste": 0.6, "text": 0.2, "new": 0.05, "unproven": 0.1},
}
"""As a rebuild may find them; none is left out, so that no source is spared."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the world. Gives the exit code: 2 for a folder that cannot be used, 1 for other trouble."""
    asked = _parser().parse_args(arguments)
    try:
        with Bars(Console(), Console(stderr=True)) as bars:
            made = make_world(asked.home, asked.items, asked.users, asked.events, asked.seed, bars)
    except RecsysError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    print(f"snapshot {made.id}: RECSYS_HOME={asked.home} recsys serve")
    return 0


def make_world(
    home: Path, items: int, users: int | None, events: int | None, seed: int, bars: Bars
) -> Manifest:
    """Fill an empty folder and publish. users: None for as many as items, events for ten times as many.

    Raises InputError for a folder that holds something.
    """
    if home.exists() and any(home.iterdir()):
        raise InputError(f"{home} is not empty: give a new folder")
    settings = Settings(home=home, preference=MODELS)
    limit_threads(settings.threads)
    card = _card(settings)
    gc.freeze()  # else all that is loaded is gone through again for every few thousand rows
    bars.task("drawing items, tastes and events")
    users = items if users is None else users
    drawn = draw(items, users, 10 * users if events is None else events, card.dim, seed)
    engine = connect(settings)
    migrate(engine)
    _store(engine, drawn, datetime.now(UTC), bars)
    vectors = drawn.vectors
    del drawn  # its events take as much memory as those read back
    made = _publish(engine, vectors, card, settings, bars)
    engine.dispose()
    return made


def _card(settings: Settings) -> EncoderCard:
    encoder = load_text_encoder(settings.embedding)
    if encoder is None:
        raise EncoderError("embedding.text_model is 'none': there is no card to take")
    return encoder.card


def _store(engine: Engine, drawn: Drawn, now: datetime, bars: Bars) -> None:
    advance = bars.task("writing items", len(drawn.category))
    for rows in _blocks(len(drawn.category)):
        with writing(engine) as connection:
            upsert_items(connection, [_item(drawn, n, now) for n in rows], now)
        advance(rows.stop)
    advance = bars.task("writing events", len(drawn.user))
    with _indexed_afterwards(engine):
        for rows in _blocks(len(drawn.user)):
            with writing(engine) as connection:
                append_events(connection, _events(drawn, rows, now))
            advance(rows.stop)


@contextmanager
def _indexed_afterwards(engine: Engine) -> Iterator[None]:
    """Events come by time, and each would touch a page of its own in the index by user: 4 KB written for every one."""
    had = [index for index in EVENTS.indexes if is_had(engine.dialect.name, index)]
    with writing(engine) as connection:
        for index in had:
            index.drop(connection)
    yield
    with writing(engine) as connection:
        for index in had:
            index.create(connection)


def _item(drawn: Drawn, n: int, now: datetime) -> Item:
    return Item(
        id=f"i{n:07d}",
        title=f"Item {n}",
        categories=(f"category {drawn.category[n]}",),
        brand=f"brand {drawn.brand[n]}",
        price=float(drawn.price[n]),
        attributes={name: "yes" for name, flag in drawn.flags.items() if flag[n]},
        published_at=now - timedelta(days=float(drawn.age_days[n])),
    )


def _events(drawn: Drawn, rows: range, now: datetime) -> list[Event]:
    some = slice(rows.start, rows.stop)
    columns = (drawn.user, drawn.item, drawn.kind, drawn.ago_us)
    told = zip(rows, *(column[some].tolist() for column in columns), strict=True)
    return [
        Event(
            event_id=f"e{n:08d}",
            user_id=f"u{user}",
            item_id=f"i{item:07d}",
            type=TYPES[kind],
            time=now - timedelta(microseconds=ago_us),
        )
        for n, user, item, kind, ago_us in told
    ]


def _blocks(count: int) -> Iterator[range]:
    return (range(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE))


def _publish(
    engine: Engine, vectors: Floats, card: EncoderCard, settings: Settings, bars: Bars
) -> Manifest:
    now = datetime.now(UTC)
    world = read_world(engine, bars)
    table = VectorTable(world.items.ids, vectors, card)
    found = {"text": Embedded(table, len(table.ids), 0, {}, ())}
    content = arrange(world.items, found, settings, bars)
    evaluation = Evaluation(
        protocol="none",
        settings={},
        data_digest="",
        reason="a synthetic world is not evaluated",
        weights=WEIGHTS,
    )
    artefacts = fit(world, content, evaluation, settings, now, bars)
    digest = inputs_digest(world, found, settings)
    manifest = describe(new_id(now), now, digest, world, artefacts, evaluation)
    snapshots = Snapshots(settings.home / "snapshots")
    return publish(snapshots, artefacts, manifest, evaluation, bars)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", type=Path, required=True, help="a new folder")
    parser.add_argument("--items", type=_count, default=10_000)
    parser.add_argument("--users", type=_count, help="as many as items, if left out")
    parser.add_argument("--events", type=_count, help="ten for each user, if left out")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _count(text: str) -> int:
    """Raises ArgumentTypeError for what is not a number above 0."""
    if not text.isdecimal() or not (number := int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
