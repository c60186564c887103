"""One encoder takes over from another: compared first, then switched and switched back, and nobody notices."""

import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import apis
import httpx
import models
import numpy as np
import pytest
from command_line import Recsys
from photos import noise
from servers import started
from sqlalchemy import Engine

from recsys.catalogue.database import connect, migrate, writing
from recsys.catalogue.importing import FeedOptions, import_file
from recsys.catalogue.items import Item, upsert_items
from recsys.config import EmbeddingSettings, EvaluationSettings, PreferenceSettings, Settings
from recsys.embedding.projection import Projection
from recsys.embedding.text import load_text_encoder
from recsys.encoders import NEAREST, Comparison, compare, sentences
from recsys.errors import BuildError
from recsys.identity import Floats, ItemId
from recsys.rebuild import rebuild
from recsys.snapshot import Snapshots

from .conftest import Silent, write_shop

WORDS = ("something to dig with", "red", "bell for a bicycle")


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two models whose vectors differ, in length as well."""
    folder = tmp_path_factory.mktemp("models")
    models.save_reader(folder / "first")
    models.save_reader(folder / "second", seed=1, dim=24)
    return str(folder / "first"), str(folder / "second")


def naming(home: Path, model: str) -> Settings:
    return Settings(
        home=home,
        embedding=EmbeddingSettings(text_model=model, image_model="none", precision="float32"),
        preference=PreferenceSettings(search=False, factors=8),
        evaluation=EvaluationSettings(bootstrap=200),
    )


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop that was never built: copy it, never change it."""
    home = tmp_path_factory.mktemp("imported") / "home"
    settings = Settings(home=home)
    items, events = write_shop(home / "feeds")
    engine = connect(settings)
    migrate(engine)
    import_file(engine, "items", items, FeedOptions(), settings)
    import_file(engine, "events", events, FeedOptions(), settings)
    engine.dispose()
    return home


@pytest.fixture
def home(imported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(imported, tmp_path / "home")


@contextmanager
def database(home: Path) -> Iterator[Engine]:
    engine = connect(Settings(home=home))
    yield engine
    engine.dispose()


def built(home: Path, model: str) -> str:
    with database(home) as engine:
        return rebuild(engine, naming(home, model), Silent(), force=True).manifest.id


def encoded(model: str, texts: Sequence[str]) -> Floats:
    encoder = load_text_encoder(EmbeddingSettings(text_model=model, precision="float32"))
    assert encoder is not None
    return encoder.encode(texts)


def likeness(home: Path, snapshot: str, model: str, words: str, items: Sequence[str]) -> Floats:
    """(items,) cosines, by the model itself."""
    _, artefacts = Snapshots(home / "snapshots").load(snapshot)
    space, places = artefacts.spaces["text"], artefacts.items.ids.ordinals(list(items))  # type: ignore[arg-type]
    return space.rows[places] @ space.encode_query(encoded(model, [words]))[0]


class Searcher:
    """Searches without a pause, for other words each time, and keeps what failed."""

    def __init__(self, url: str) -> None:
        self._url, self._enough = url, threading.Event()
        self.failed: list[str] = []
        self.answered: dict[str, int] = {}
        """Snapshot -> replies."""
        self._thread = threading.Thread(target=self._search)

    def __enter__(self) -> "Searcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _search(self) -> None:
        n = 0
        while not self._enough.wait(0.01):
            n += 1
            reply = httpx.post(f"{self._url}/v1/search", json={"text": f"a bell {n}"}, timeout=90)
            if reply.status_code != 200:
                self.failed.append(reply.text)
            else:
                snapshot = reply.json()["snapshot"]
                self.answered[snapshot] = self.answered.get(snapshot, 0) + 1


def asked(url: str, words: str) -> tuple[str, dict[str, float]]:
    """The snapshot, and what texts add to the score of each item found."""
    body = {"text": words, "by": "text", "limit": 30, "explain": True}
    reply = httpx.post(f"{url}/v1/search", json=body, timeout=90).raise_for_status().json()
    return reply["snapshot"], {place["item_id"]: place["parts"]["text"] for place in reply["items"]}


def serves(url: str, home: Path, snapshot: str, model: str) -> None:
    """Every search is answered from this snapshot, by this model."""
    apis.until(lambda: all(asked(url, "spade")[0] == snapshot for _ in range(10)))
    for words in WORDS:
        served, found = asked(url, words)
        assert served == snapshot
        cosines = likeness(home, snapshot, model, words, list(found))
        assert np.corrcoef(list(found.values()), cosines)[0, 1] > 0.99


def test_a_switch_and_a_switch_back_fail_no_search(home: Path, readers: tuple[str, str]) -> None:
    """The settings name the second model from the start: the server goes on with that of what it serves."""
    first, second = readers
    before = built(home, first)
    environment = {
        "RECSYS_EMBEDDING__TEXT_MODEL": second,
        "RECSYS_EMBEDDING__IMAGE_MODEL": "none",
        "RECSYS_EMBEDDING__PRECISION": "float32",
        "RECSYS_SERVING__POLL_SECONDS": "0.1",
        "RECSYS_SERVING__REFRESH_SECONDS": "0.2",
    }
    snapshots = Snapshots(home / "snapshots")
    with started(home, "--workers", "2", **environment) as (process, url):
        serves(url, home, before, first)
        with Searcher(url) as searcher:
            new = httpx.put(f"{url}/v1/items/rake", json={"title": "Long rake", "price": 1})
            assert new.is_success, new.text
            apis.until(lambda: snapshots.current_id() != before)
            refresh = snapshots.current_id()
            assert snapshots.manifest(refresh).origin == before
            serves(url, home, refresh, first)
            assert next(iter(asked(url, "Long rake")[1])) == "rake", "embedded as the others were"
            after = built(home, second)
            serves(url, home, after, second)
            assert snapshots.rollback() == before
            apis.until(lambda: snapshots.current_id() not in {before, after})
            again = snapshots.current_id()
            assert snapshots.manifest(again).origin == before, "the new item joined it once more"
            serves(url, home, again, first)
            snapshots.publish(after)
            serves(url, home, after, second)
        assert not searcher.failed
        assert searcher.answered[before] and searcher.answered[after]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_a_server_whose_settings_say_none_searches_what_it_serves(
    home: Path, readers: tuple[str, str]
) -> None:
    """In one process, as an app alone."""
    first, second = readers
    before = built(home, first)
    settings = apis.served_quickly(Settings(home=home))
    with apis.running(settings) as client:
        url = str(client.base_url)
        serves(url, home, before, first)
        serves(url, home, built(home, second), second)


def test_a_model_that_went_is_named_to_who_searches_and_slates_go_on(
    home: Path, readers: tuple[str, str], tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(readers[0], mine)
    snapshot = built(home, str(mine))
    mine.rename(tmp_path / "elsewhere")
    with apis.running(naming(home, readers[1])) as client:
        assert client.get("/v1/items/popular").status_code == 200
        reply = client.post("/v1/search", json={"text": "red"})
        assert reply.status_code == 503
        message = reply.json()["error"]["message"]
        assert str(mine) in message and readers[1] in message and "recsys rebuild" in message
        (tmp_path / "elsewhere").rename(mine)
        serves(str(client.base_url), home, snapshot, str(mine))


@pytest.fixture(scope="module")
def comparison(imported: Path, readers: tuple[str, str], tmp_path_factory: pytest.TempPathFactory):
    home = shutil.copytree(imported, tmp_path_factory.mktemp("compared") / "home")
    with database(home) as engine:
        return home, compare(engine, naming(home, "offline"), "text", *readers, Silent())


def nearest(model: str, texts: Sequence[str]) -> list[set[int]]:
    """By brute force."""
    raw = encoded(model, texts)
    rows = Projection.whitening(raw).apply(raw)
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, -np.inf)
    return [set(np.argsort(-row)[:NEAREST].tolist()) for row in likeness]


def test_the_overlap_is_that_of_brute_force(
    comparison: tuple[Path, Comparison], readers: tuple[str, str], imported: Path
) -> None:
    home, found = comparison
    with database(home) as engine:
        from recsys.catalogue.database import reading
        from recsys.catalogue.items import read_items

        with reading(engine) as connection:
            items = read_items(connection).data.to_pylist()
    texts = [f"{item['title']}. {', '.join(item['categories'])}" for item in items]
    mine, theirs = (nearest(model, texts) for model in readers)
    shares = [len(one & other) / NEAREST for one, other in zip(mine, theirs, strict=True)]
    assert found.items == len(texts) == 96
    assert found.overlap == pytest.approx(np.mean(shares), abs=0.005)
    assert 0.1 < found.overlap < 0.9, "else it told nothing"


def test_the_next_rebuild_embeds_nothing_and_measures_the_same(
    comparison: tuple[Path, Comparison], readers: tuple[str, str]
) -> None:
    home, found = comparison
    assert Snapshots(home / "snapshots").ids() == []
    assert [side.embedded.embedded for side in found.sides] == [96, 96]
    with database(home) as engine:
        outcome = rebuild(engine, naming(home, readers[1]), Silent())
    assert outcome.vectors["text"].embedded == 0
    theirs = found.sides[1].sitting.evaluation.models["blend"]
    assert theirs == outcome.evaluation.models["blend"]
    assert found.sides[0].sitting.evaluation.models["blend"] != theirs


def test_the_difference_is_that_of_the_means_and_paired(
    comparison: tuple[Path, Comparison],
) -> None:
    _, found = comparison
    one, other = (side.sitting.evaluation.models for side in found.sides)
    assert set(found.gained["all"]) == {"blend", "text alone"}
    for model, metrics in found.gained["all"].items():
        for metric, gain in metrics.items():
            a, b = (of[model].metrics[metric] for of in (one, other))
            assert gain.value == pytest.approx(b.value - a.value)
            assert gain.low is not None and gain.high is not None
            assert gain.low <= gain.value <= gain.high


def test_the_same_weights_under_two_names_differ_in_nothing(
    home: Path, readers: tuple[str, str], tmp_path: Path
) -> None:
    copy = shutil.copytree(readers[0], tmp_path / "copy")
    with database(home) as engine:
        found = compare(engine, naming(home, "none"), "text", readers[0], str(copy), Silent())
    assert found.overlap == 1 and found.items == 96
    gains = [g for part in found.gained.values() for of in part.values() for g in of.values()]
    assert gains and all(gain == (0, 0, 0) for gain in gains)
    assert sentences(found) == [
        "blend: no difference that these events can show.",
        "text alone: no difference that these events can show.",
    ]


def test_a_model_that_understands_is_found_to_be_better(
    home: Path, readers: tuple[str, str]
) -> None:
    """By titles alone; the names of the departments tell any model what it takes."""
    by_title = EmbeddingSettings(text_fields=("title",), image_model="none")
    settings = naming(home, "none").model_copy(update={"embedding": by_title})
    with database(home) as engine:
        found = compare(engine, settings, "text", readers[0], "offline", Silent())
        back = compare(engine, settings, "text", "offline", readers[0], Silent())
    _, alone = sentences(found)
    assert alone.startswith("text alone: B is better by ")
    _, alone = sentences(back)
    assert alone.startswith("text alone: B is worse by ")
    assert back.overlap == found.overlap
    assert [side.embedded.embedded for side in back.sides] == [0, 0]


def test_the_command_prints_what_it_found(
    recsys: Recsys, home: Path, readers: tuple[str, str]
) -> None:
    before = built(home, readers[0])
    fast = {
        "RECSYS_HOME": str(home),
        "RECSYS_EMBEDDING__IMAGE_MODEL": "none",
        "RECSYS_EMBEDDING__TEXT_MODEL": readers[0],
        "RECSYS_PREFERENCE__SEARCH": "false",
        "RECSYS_EVALUATION__BOOTSTRAP": "50",
    }
    ended = recsys("encoders", "compare", *readers, **fast)
    assert ended.returncode == 0, ended.stderr
    said = " ".join(ended.stdout.split())
    assert "A: first" in said and "B: second" in said and "reused" in said
    assert "of the 10 nearest in common, over 96 items" in said
    assert "text alone: Recall@10" in said and "no difference that these events" in said
    assert "Nothing was published" in said
    snapshots = Snapshots(home / "snapshots")
    assert snapshots.ids() == [before] and snapshots.current_id() == before
    for wrong, told in (
        ((readers[0], readers[0]), "A and B are both"),
        ((readers[0], "none"), "'none' embeds nothing"),
        ((readers[0], f"{readers[0]}/../first"), "are the same model, first"),
        ((readers[0], "/no/such/folder"), "cannot load '/no/such/folder'"),
        ((*readers, "--kind", "image"), "no item has a picture"),
    ):
        ended = recsys("encoders", "compare", *wrong, **fast)
        assert ended.returncode == 1 and told in ended.stderr, ended.stderr


def test_picture_encoders_are_compared_alike(tmp_path: Path, tiny_clip: Path) -> None:
    settings = naming(tmp_path / "new", "none")
    engine = connect(settings)
    migrate(engine)
    items = [Item(id=str(n), images=(str(tmp_path / f"{n}.png"),)) for n in range(20)]
    for n in range(20):
        noise(n, (40, 40)).save(tmp_path / f"{n}.png")
    (tmp_path / "19.png").write_bytes(b"no picture")
    with writing(engine) as connection:
        upsert_items(connection, items, datetime.now(UTC))
    found = compare(engine, settings, "image", "offline", str(tiny_clip), Silent())
    engine.dispose()
    assert [side.card.dim for side in found.sides] == [2816, 24]
    assert found.items == 19 and 0 < found.overlap < 1
    assert list(found.problems) == ["19"] and found.problems[ItemId("19")].count("19.png") == 1


def test_without_events_neighbours_are_all_there_is(
    tmp_path: Path, readers: tuple[str, str]
) -> None:
    settings = naming(tmp_path / "new", "none")
    engine = connect(settings)
    migrate(engine)
    with pytest.raises(BuildError, match="the catalogue is empty"):
        compare(engine, settings, "text", *readers, Silent())
    some = [Item(id=str(n), title=f"{'abc'[n % 3] * 3} {n}") for n in range(30)]
    with writing(engine) as connection:
        upsert_items(connection, [*some, Item(id="mute")], datetime.now(UTC))
    found = compare(engine, settings, "text", *readers, Silent())
    engine.dispose()
    assert found.items == 30 and 0 < found.overlap < 1 and not found.gained
    assert sentences(found) == ["Accuracy was not measured: there are no events."]
