"""Whether the encoders are in this process or another one: the same vectors, the same problems, and no endless wait.

Who asks names a card, and the encoder of that card answers, whatever the settings say.
"""

import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import models
import numpy as np
import pytest
import worlds
from apis import running, served_quickly
from photos import file_of, noise

from recsys.catalogue.database import connect, migrate
from recsys.config import EmbeddingSettings, Settings
from recsys.embedding.detecting import Detector
from recsys.embedding.encoder import EncoderCard, remember
from recsys.embedding.image import load_image_encoder
from recsys.embedding.looking import Looking, regions
from recsys.embedding.text import TextEncoder, identity_of, load_text_encoder
from recsys.errors import ContentError, EncoderError, EncoderLoading
from recsys.serving.encoding import Beside, Encoding, Shared
from recsys.snapshot import Artefacts

TEXTS = ["", "A red lipstick", "Pruning shears, small", "口紅 💄", "a b c " * 100] * 5
MINILM = EmbeddingSettings(precision="float32")
NONE = EmbeddingSettings(text_model="none", image_model="none", precision="float32")


def shared(settings: EmbeddingSettings, vectors: Path) -> Shared:
    """One whose process is a thread here."""
    encoding = Shared(settings, vectors)
    threading.Thread(target=encoding.answer, daemon=True).start()
    return encoding


KINDS = pytest.mark.parametrize("kind", [Beside, shared])
Kind = Callable[[EmbeddingSettings, Path], Encoding]


def reader(settings: EmbeddingSettings) -> TextEncoder:
    encoder = load_text_encoder(settings)
    assert encoder is not None
    return encoder


def looks(settings: EmbeddingSettings) -> tuple[Looking, EncoderCard]:
    encoder = load_image_encoder(settings)
    assert encoder is not None
    return Looking(encoder), encoder.card


@KINDS
def test_the_vectors_are_those_of_the_encoder(kind: Kind, tmp_path: Path) -> None:
    encoder, encoding = reader(MINILM), kind(MINILM, tmp_path)
    card = encoder.card
    np.testing.assert_allclose(encoding.encode(card, TEXTS), encoder.encode(TEXTS), atol=1e-5)
    np.testing.assert_allclose(
        encoding.encode_query(card, TEXTS[1:2]), encoder.encode_query(TEXTS[1:2]), atol=1e-5
    )
    assert encoding.encode(card, []).shape == (0, 384)


@KINDS
def test_each_card_is_answered_by_its_own_model(
    kind: Kind, tiny_reader: Path, tmp_path: Path
) -> None:
    """More of them by turns than are kept, two of one name, and none that the settings name."""
    other = tmp_path / "other" / tiny_reader.name
    models.save_reader(other, seed=1)
    named = [str(tiny_reader), str(other), "offline"]
    encoders = [reader(MINILM.model_copy(update={"text_model": name})) for name in named]
    for encoder, name in zip(encoders, named, strict=True):
        remember(encoder.card, name, tmp_path)
    encoding = kind(NONE, tmp_path)
    for encoder in encoders * 2:
        expected = encoder.encode_query(TEXTS[1:3])
        found = encoding.encode_query(encoder.card, TEXTS[1:3])
        np.testing.assert_allclose(found, expected, atol=1e-5)
    first, second = (encoder.encode_query(TEXTS[1:3]) for encoder in encoders[:2])
    assert np.abs(first - second).max() > 0.1, "else nothing was told apart"


def test_models_in_memory_are_the_two_asked_last(
    tiny_reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsys.embedding import text

    places = [tmp_path / name for name in "abc"]
    for place in places:
        shutil.copytree(tiny_reader, place)
    cards = [reader(EmbeddingSettings(text_model=str(place))).card for place in places]
    for card, place in zip(cards, places, strict=True):
        remember(card, str(place), tmp_path)
    loaded: list[str] = []
    load = text.load_model
    monkeypatch.setattr(
        text, "load_model", lambda name, *more: loaded.append(Path(name).name) or load(name, *more)
    )
    encoding = Beside(NONE, tmp_path)
    first, second, third = cards
    other_fields = replace(first, template="title. attributes.Dr. Who. brand")
    for card in (first, second, first, other_fields, third, first, third, second):
        encoding.encode_query(card, ["red"])
    assert loaded == ["a", "b", "c", "b"], "texts of other fields are read by the same model"


@KINDS
def test_a_model_that_is_gone_says_so_each_time_and_is_found_once_it_is_back(
    kind: Kind, tiny_reader: Path, tmp_path: Path
) -> None:
    place = tmp_path / tiny_reader.name
    card = reader(EmbeddingSettings(text_model=str(tiny_reader))).card
    encoding = kind(NONE, tmp_path)
    with pytest.raises(EncoderError, match="where it lies was not noted"):
        encoding.prepare(card)
    remember(card, str(place), tmp_path)
    models.save_reader(place, seed=1)
    for ask in (encoding.prepare, lambda card: encoding.encode_query(card, ["red"])) * 2:
        with pytest.raises(EncoderError, match=rf"tiny-reader .*lies at {place}: put it back"):
            ask(card)
    shutil.rmtree(place)
    shutil.copytree(tiny_reader, place)
    assert encoding.encode_query(card, ["red"]).shape == (1, card.dim)


@KINDS
def test_a_model_that_reads_otherwise_by_now_is_not_asked(
    kind: Kind, tiny_reader: Path, tmp_path: Path
) -> None:
    """As when a library sees more of a text than it did."""
    settings = EmbeddingSettings(text_model=str(tiny_reader))
    card = replace(reader(settings).card, max_tokens=32)
    with pytest.raises(EncoderError, match=r"encodes otherwise by now .*max_tokens=64.*rebuild"):
        kind(settings, tmp_path).encode_query(card, ["red"])


@KINDS
def test_pictures_and_words_among_them_have_the_vectors_of_the_encoder(
    kind: Kind, tiny_clip: Path, tiny_detector: Path, tmp_path: Path
) -> None:
    settings = EmbeddingSettings(image_model=str(tiny_clip), detection_model=str(tiny_detector))
    (looking, card), encoding = looks(settings), kind(settings, tmp_path)
    photo, crop = file_of(noise(3, (200, 100)), "PNG"), (0.1, 0.2, 0.5, 0.6)
    for part in (None, crop):
        found = encoding.see(card, photo, part)
        np.testing.assert_allclose(found, looking.see(photo, part), atol=1e-5)
    words = encoding.depict(card, "a red hat")
    np.testing.assert_allclose(words, looking.depict("a red hat"), atol=1e-5)
    things = encoding.regions(photo)
    assert things and things == regions(Detector(str(tiny_detector)), photo)
    lite, of_lite = looks(EmbeddingSettings())
    np.testing.assert_allclose(encoding.see(of_lite, photo), lite.see(photo), atol=1e-5)
    assert kind(NONE, tmp_path).regions(photo) == []


@KINDS
def test_what_is_no_picture_is_a_problem_of_who_sent_it(kind: Kind, tmp_path: Path) -> None:
    _, card = looks(EmbeddingSettings())
    encoding = kind(NONE, tmp_path)
    for _ in range(2):
        with pytest.raises(ContentError, match="not a readable picture"):
            encoding.see(card, b"no picture")
    assert encoding.see(card, file_of(noise(), "PNG")).shape == (2816,)


@KINDS
def test_a_model_of_pictures_is_prepared_where_pictures_are_searched(
    kind: Kind, tmp_path: Path
) -> None:
    _, card = looks(EmbeddingSettings())
    gone, encoding = replace(card, revision="another"), kind(NONE, tmp_path)
    encoding.prepare(gone)
    encoding.see(card, file_of(noise(), "PNG"))
    with pytest.raises(EncoderError, match="efficientnet-lite0"):
        encoding.prepare(gone)


def test_who_asks_another_model_does_not_wait_for_one_that_is_loading(
    tiny_reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsys.embedding import text

    slow = tmp_path / "slow"
    shutil.copytree(tiny_reader, slow)
    named = [str(tiny_reader), str(slow)]
    known, waited_for = (reader(EmbeddingSettings(text_model=name)).card for name in named)
    remember(known, named[0], tmp_path)
    remember(waited_for, named[1], tmp_path)
    go_on, load = threading.Event(), text.load_model
    monkeypatch.setattr(
        text,
        "load_model",
        lambda name, *more: (name != named[1] or go_on.wait()) and load(name, *more),
    )
    encoding = shared(NONE, tmp_path)
    encoding.prepare(known)
    waiting = threading.Thread(target=encoding.prepare, args=(waited_for,))
    waiting.start()
    assert encoding.encode_query(known, ["red"]).shape == (1, 16)
    assert waiting.is_alive()
    go_on.set()
    waiting.join(60)
    assert not waiting.is_alive()
    assert encoding.encode_query(waited_for, ["red"]).shape == (1, 16)


def test_who_asks_waits_for_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.serving.encoding.PATIENCE_SECONDS", 0.1)
    card = EncoderCard("nobody's", "1", "text", 16, None, "title")
    with closing(Shared(EmbeddingSettings(), Path())) as unanswered:
        for ask in (unanswered.prepare, lambda card: unanswered.encode_query(card, ["red"])) * 2:
            with pytest.raises(EncoderLoading, match="still being loaded: try again"):
                ask(card)


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
    settings: Settings, artefacts: Artefacts, tmp_path: Path
) -> None:
    """It is the one of the snapshot's card by its name and digest, and cannot be loaded."""
    place = tmp_path / "broken"
    place.mkdir()
    (place / "config.json").write_text("{}")
    card = replace(artefacts.spaces["text"].card, model="broken", revision=identity_of(place)[1])
    spaces = artefacts.spaces | {"text": replace(artefacts.spaces["text"], card=card)}
    broken = EmbeddingSettings(text_model=str(place))
    served = served_quickly(settings).model_copy(update={"embedding": broken})
    reply = searched(served, replace(artefacts, spaces=spaces))
    assert reply.status_code == 503
    assert reply.json()["error"]["type"] == "search_unavailable"
    assert f"embedding.text_model: cannot load '{place}'" in reply.json()["error"]["message"]
    assert "Retry-After" not in reply.headers


def test_a_search_that_waited_too_long_is_told_when_to_come_back(
    settings: Settings, artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr("recsys.serving.encoding.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("recsys.serving.encoding.text_encoder_of", lambda *_: never.wait())
    loading = served_quickly(settings).model_copy(update={"embedding": EmbeddingSettings()})
    reply = searched(loading, artefacts)
    never.set()
    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
