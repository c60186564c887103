"""Whether the encoder is in this process or another one: the same vectors, the same problems, and no endless wait."""

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
import worlds
from apis import running, served_quickly
from photos import file_of, noise

from recsys.catalogue.database import connect, migrate
from recsys.config import EmbeddingSettings, Settings
from recsys.embedding.looking import Looking
from recsys.embedding.text import load_text_encoder
from recsys.errors import ContentError, EncoderError, EncoderLoading
from recsys.serving.encoding import Beside, Encoding, Shared
from recsys.snapshot import Artefacts

TEXTS = ["", "A red lipstick", "Pruning shears, small", "口紅 💄", "a b c " * 100] * 5
MISSING = EmbeddingSettings(text_model="/no/such/folder")


def shared(settings: EmbeddingSettings) -> Shared:
    """One whose process is a thread here."""
    encoding = Shared(settings)
    threading.Thread(target=encoding.answer, daemon=True).start()
    return encoding


KINDS = pytest.mark.parametrize("kind", [Beside, shared])
Kind = Callable[[EmbeddingSettings], Encoding]


@KINDS
def test_the_vectors_are_those_of_the_encoder(kind: Kind) -> None:
    settings = EmbeddingSettings(precision="float32")
    encoder, encoding = load_text_encoder(settings), kind(settings)
    assert encoder is not None
    assert encoding.card == encoder.card
    np.testing.assert_allclose(encoding.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)
    np.testing.assert_allclose(
        encoding.encode_query(TEXTS[1:2]), encoder.encode_query(TEXTS[1:2]), atol=1e-5
    )


@KINDS
def test_a_model_that_cannot_be_loaded_says_why_each_time(kind: Kind) -> None:
    encoding = kind(MISSING)
    for _ in range(2):
        with pytest.raises(EncoderError, match=r"embedding\.text_model: cannot load '/no/such"):
            encoding.encode_query(["red"])


@KINDS
def test_pictures_and_words_among_them_have_the_vectors_of_the_encoder(
    kind: Kind, tiny_clip: Path, tiny_detector: Path
) -> None:
    settings = EmbeddingSettings(
        text_model="none", image_model=str(tiny_clip), detection_model=str(tiny_detector)
    )
    looking, encoding = Looking(settings), kind(settings)
    assert encoding.image_card == looking.card
    photo, crop = file_of(noise(3, (200, 100)), "PNG"), (0.1, 0.2, 0.5, 0.6)
    for part in (None, crop):
        np.testing.assert_allclose(encoding.see(photo, part), looking.see(photo, part), atol=1e-5)
    np.testing.assert_allclose(encoding.depict("a red hat"), looking.depict("a red hat"), atol=1e-5)
    found = encoding.regions(photo)
    assert found and found == looking.regions(photo)


@KINDS
def test_what_is_no_picture_is_a_problem_of_who_sent_it(kind: Kind) -> None:
    encoding = kind(EmbeddingSettings(text_model="none"))
    for _ in range(2):
        with pytest.raises(ContentError, match="not a readable picture"):
            encoding.see(b"no picture")
    assert encoding.see(file_of(noise(), "PNG")).shape == (1280,)


def test_who_asks_waits_for_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.serving.encoding.PATIENCE_SECONDS", 0.1)
    with closing(Shared(EmbeddingSettings())) as unanswered:
        for _ in range(2):
            with pytest.raises(EncoderLoading, match="still being loaded: try again"):
                unanswered.encode_query(["red"])


def searched(settings: Settings, artefacts: Artefacts) -> httpx.Response:
    """The answer to a search, where slates are answered."""
    engine = connect(settings)
    migrate(engine)
    worlds.fill(engine)
    engine.dispose()
    worlds.publish(settings.home, artefacts)
    with running(settings) as client:
        assert client.get("/v1/items/popular").status_code == 200
        return client.post("/v1/search", json={"text": "red"})


def test_a_broken_model_serves_slates_and_tells_who_searches(
    settings: Settings, artefacts: Artefacts
) -> None:
    broken = served_quickly(settings).model_copy(update={"embedding": MISSING})
    reply = searched(broken, artefacts)
    assert reply.status_code == 503
    assert reply.json()["error"]["type"] == "search_unavailable"
    assert "cannot load '/no/such/folder'" in reply.json()["error"]["message"]
    assert "Retry-After" not in reply.headers


def test_a_search_that_waited_too_long_is_told_when_to_come_back(
    settings: Settings, artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr("recsys.serving.encoding.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("recsys.serving.encoding.load_text_encoder", lambda _: never.wait())
    loading = served_quickly(settings).model_copy(update={"embedding": EmbeddingSettings()})
    reply = searched(loading, artefacts)
    never.set()
    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
