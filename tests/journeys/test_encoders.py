"""One encoder takes over from another: switched and switched back, and nobody notices."""

import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apis
import httpx
import models
import numpy as np
import pytest
from servers import started
from sqlalchemy import Engine

from recsys.catalogue.database import connect, migrate
from recsys.catalogue.importing import FeedOptions, import_file
from recsys.config import EmbeddingSettings, EvaluationSettings, PreferenceSettings, Settings
from recsys.embedding.text import load_text_encoder
from recsys.identity import Floats
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
