"""A small world with a known truth, made of real parts in well under two seconds.

    fill(engine)                          60 films of three genres; people who keep to one of them
    artefacts = build(engine, settings)   real index, models and item table; vectors made from the words
    publish(home, artefacts)              a sealed and published snapshot

With `texts` given (item text -> unit vectors, and their card), the text space is that of a real encoder.
"""

import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from recsys.catalogue.database import reading, writing
from recsys.catalogue.events import Event, append_events, read_events
from recsys.catalogue.items import Item, ItemTable, read_items, upsert_items
from recsys.config import IndexSettings, PreferenceSettings, Settings
from recsys.embedding.encoder import EncoderCard, unit_rows
from recsys.embedding.text import item_text
from recsys.embedding.vectors import VectorTable
from recsys.identity import Floats, IdMap, ItemId
from recsys.index.space import Space, build_space
from recsys.preference.models import ContentPrior, fit_preference
from recsys.snapshot import FORMAT, Artefacts, Manifest, Snapshots, library_versions, new_id

GENRES = ("Crime", "Family", "Space")
WORDS = {
    "Crime": "robbery detective murder heist gangster police",
    "Family": "toys children puppy holiday friends magic",
    "Space": "rocket planet alien astronaut galaxy robot",
}
NAMES = {"296": "Pulp Fiction (1994)", "50": "The Usual Suspects (1995)", "318": "Shawshank (1994)"}
"""Ids that the examples of /openapi.json speak of; all of them are crime."""

NOT_SHOWN = {"hidden", "expired", "tomorrow"}
"""Unavailable, run out, and not yet published."""

BUILT_AT = datetime(2026, 6, 1, tzinfo=UTC)

FILMS_PER_GENRE = 20

Texts = tuple[Callable[[Sequence[str]], Floats], EncoderCard]


def films() -> list[Item]:
    """20 of each genre, `Crime` first; every film has a text, two in three a price, half a picture."""
    made = [_film(genre, n) for genre in GENRES for n in range(FILMS_PER_GENRE)]
    hidden = {
        "hidden": {"available": False},
        "expired": {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)},
    }
    hidden["tomorrow"] = {"published_at": datetime.now(UTC) + timedelta(days=1)}
    return made + [
        Item(id=key, title=key, categories=("Crime",), **given) for key, given in hidden.items()
    ]


def film_ids(genre: str) -> list[str]:
    """The ids of a genre's films."""
    known = list(NAMES) if genre == "Crime" else []
    return known + [f"{genre.lower()}-{n}" for n in range(len(known), FILMS_PER_GENRE)]


def _film(genre: str, n: int) -> Item:
    words = WORDS[genre].split()
    key = film_ids(genre)[n]
    return Item(
        id=key,
        title=NAMES.get(key, f"{genre} film {n}"),
        description=f"{words[n % 6]} {words[(n + 1) % 6]} {words[(2 * n) % 6]} story {n}",
        categories=(genre, "Drama") if n % 2 else (genre,),
        brand=f"Studio {n % 4}",
        price=None if n % 3 == 0 else 5.0 + n,
        images=(f"{key}.jpg",) if n % 2 else (),
        attributes={"year": 1990 + n % 5, "languages": ["en", "fr"] if n % 4 else ["en"]},
        published_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n),
    )


def events(people: int = 60) -> list[Event]:
    """Person n likes 8 films of one genre, the earlier films of it more often; person 42 likes crime."""
    rng = np.random.default_rng(0)
    liking = np.linspace(3, 1, FILMS_PER_GENRE)
    found = []
    for person in range(1, people + 1):
        genre = GENRES[person % 3]
        chosen = rng.choice(film_ids(genre), 8, replace=False, p=liking / liking.sum())
        found += [_like(str(person), key, n) for n, key in enumerate(chosen.tolist())]
    return found


def _like(person: str, key: str, n: int) -> Event:
    kind = ("like", "purchase", "click", "rating")[n % 4]
    time = BUILT_AT - timedelta(days=30 - 3 * n, minutes=int(person))
    value = 5.0 if kind == "rating" else None
    return Event(user_id=person, item_id=key, type=kind, value=value, time=time)


def fill(engine: Engine, items: Sequence[Item] | None = None) -> None:
    """Put the world into a migrated database."""
    with writing(engine) as connection:
        upsert_items(connection, films() if items is None else items, BUILT_AT)
        append_events(connection, events())


def build(engine: Engine, settings: Settings, texts: Texts | None = None) -> Artefacts:
    """Everything a snapshot holds, from what is in the database now."""
    with reading(engine) as connection:
        items = read_items(connection)
        log = read_events(connection, items.ids)
    rows = items.data.select(["title", "description", "categories", "brand"]).to_pylist()
    contents = [item_text(row, settings.embedding.text_fields) or "" for row in rows]
    encode, card = texts or (_by_words, _card("text"))
    spaces = {"text": _space(items, encode(contents), card, np.ones(len(items), bool))}
    pictured = np.array([bool(row) for row in items.data["images"].to_pylist()])
    spaces["image"] = _space(items, _by_words(contents), _card("image"), pictured)
    priors = {
        name: ContentPrior(None, space.neighbours, space.similarity)
        for name, space in spaces.items()
    }
    small = settings.model_copy(
        update={"preference": PreferenceSettings(factors=8, factors_iterations=5)}
    )
    return Artefacts(items, spaces, fit_preference(log, len(items), priors, small), {})


def publish(home: Path, artefacts: Artefacts, built_at: datetime | None = None) -> str:
    """Seal a snapshot of these artefacts and serve it from now on. Gives its id."""
    snapshots = Snapshots(home / "snapshots")
    sealed = snapshots.seal(artefacts, manifest(artefacts, built_at or datetime.now(UTC)), {})
    snapshots.publish(sealed.id)
    return sealed.id


def manifest(artefacts: Artefacts, built_at: datetime) -> Manifest:
    """A manifest as a rebuild would write it, had there been too little to measure."""
    return Manifest(
        id=new_id(built_at),
        format=FORMAT,
        built_at=built_at,
        events_until=BUILT_AT,
        counts={"items": len(artefacts.items), "available": int(artefacts.items.available.sum())},
        encoders={name: space.card.to_json() for name, space in artefacts.spaces.items()},
        indexes={},
        models=artefacts.preference.reach,
        inputs_digest="made for a test",
        libraries=library_versions(),
        metrics={},
        files={},
    )


def _space(items: ItemTable, rows: Floats, card: EncoderCard, present: np.ndarray) -> Space:
    ids = IdMap(ItemId(key) for key, there in zip(items.ids, present, strict=True) if there)
    return build_space(items.ids, VectorTable(ids, rows[present], card), IndexSettings())


def _card(modality: str) -> EncoderCard:
    return EncoderCard("words-by-their-checksum", "1", modality, 32, None, "words")  # type: ignore[arg-type]


def _by_words(contents: Sequence[str]) -> Floats:
    """A text is the sum of its words; a word is a random direction, always the same."""
    rows = [sum(_direction(word) for word in text.lower().split()) for text in contents]
    return unit_rows(np.array(rows, dtype=np.float32))


def _direction(word: str) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=32)
