"""The encoder of a card is found again, wherever its model lies by now, and no other is taken for it."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import models
import numpy as np
import pytest
from photos import noise

from recsys.config import EmbeddingSettings
from recsys.embedding.encoder import EncoderCard, lies_at
from recsys.embedding.finding import image_encoder_of, text_encoder_of, text_fields_of
from recsys.embedding.image import load_image_encoder
from recsys.embedding.text import load_text_encoder
from recsys.errors import EncoderError

NONE = EmbeddingSettings(text_model="none", image_model="none", precision="float32")


def naming(place: Path) -> EmbeddingSettings:
    return NONE.model_copy(update={"text_model": str(place)})


def card_of(settings: EmbeddingSettings, vectors: Path | None = None) -> EncoderCard:
    encoder = load_text_encoder(settings, vectors)
    assert encoder is not None
    return encoder.card


@pytest.mark.parametrize(
    "fields",
    [
        ("title",),
        ("title", "brand", "categories", "description"),
        ("attributes", "title"),
        ("attributes.Dr. No", "attributes.brand.x", "title"),
        ("attributes.title. x",),
    ],
)
def test_a_card_tells_the_fields_of_its_texts(tiny_reader: Path, fields: tuple[str, ...]) -> None:
    settings = naming(tiny_reader).model_copy(update={"text_fields": fields})
    EmbeddingSettings.model_validate({"text_fields": fields})
    card = card_of(settings)
    assert text_fields_of(card) == fields
    assert text_encoder_of(card, naming(tiny_reader), Path("/nowhere")).card == card


@pytest.mark.parametrize("lazily", [False, True])
def test_the_models_that_come_along_need_no_note(tmp_path: Path, lazily: bool) -> None:
    offline = EmbeddingSettings(precision="float32")
    card = card_of(offline)
    found = text_encoder_of(card, NONE, tmp_path, lazily)
    assert found.card == card and found.encode(["red"]).shape == (1, 384)
    pictures = load_image_encoder(offline)
    assert pictures is not None
    again = image_encoder_of(pictures.card, NONE, tmp_path, lazily)
    np.testing.assert_array_equal(again.encode([noise()]), pictures.encode([noise()]))


def test_a_model_is_found_where_it_was_loaded_from_last(tiny_reader: Path, tmp_path: Path) -> None:
    vectors, first, second = tmp_path / "vectors", tmp_path / "1/reader", tmp_path / "2/reader"
    shutil.copytree(tiny_reader, first)
    card = card_of(naming(first), vectors)
    first.parent.rename(second.parent)
    with pytest.raises(EncoderError, match=rf"lies at {first}: put it back, or `recsys rebuild`"):
        text_encoder_of(card, NONE, vectors)
    assert text_encoder_of(card, naming(second), vectors).card == card, "the settings know"
    assert card_of(naming(second), vectors) == card, "known already, and noted anew"
    assert lies_at(card, vectors) == str(second)
    assert text_encoder_of(card, NONE, vectors).card == card


def test_a_link_that_leads_elsewhere_by_now_is_not_followed(
    tiny_reader: Path, tmp_path: Path
) -> None:
    vectors, link = tmp_path / "vectors", tmp_path / "current"
    link.symlink_to(tiny_reader)
    card = card_of(naming(link), vectors)
    models.save_reader(tmp_path / "other", seed=1)
    link.unlink()
    link.symlink_to(tmp_path / "other")
    assert text_encoder_of(card, naming(link), vectors).card == card


def test_another_model_of_the_same_name_is_not_taken_for_it(
    tiny_reader: Path, tmp_path: Path
) -> None:
    vectors, other = tmp_path / "vectors", tmp_path / tiny_reader.name
    models.save_reader(other, seed=1)
    card = card_of(naming(tiny_reader), vectors)
    found = text_encoder_of(card, naming(other), vectors)
    expected = load_text_encoder(naming(tiny_reader))
    assert expected is not None
    np.testing.assert_allclose(found.encode(["red"]), expected.encode(["red"]), atol=1e-6)
    with pytest.raises(EncoderError, match="tiny-reader"):
        text_encoder_of(replace(card, revision="0" * 40), naming(other), vectors)


def test_a_picture_encoder_is_found_by_its_note(tiny_clip: Path, tmp_path: Path) -> None:
    named = NONE.model_copy(update={"image_model": str(tiny_clip)})
    encoder = load_image_encoder(named, tmp_path)
    assert encoder is not None
    found = image_encoder_of(encoder.card, EmbeddingSettings(), tmp_path)
    assert found.card == encoder.card
    with pytest.raises(EncoderError, match=r"not what embedding\.image_model = 'offline' names"):
        image_encoder_of(encoder.card, EmbeddingSettings(), tmp_path / "nowhere")


FROM_THE_HUB = """
import sys
from pathlib import Path
from recsys.config import EmbeddingSettings
from recsys.embedding.finding import text_encoder_of
from recsys.embedding.text import load_text_encoder

main, vectors = Path(sys.argv[1]), Path(sys.argv[2])
hub = EmbeddingSettings(text_model="somebody/reader", precision="float32")
before = load_text_encoder(hub, vectors)
main.write_text("b" * 40)
after = load_text_encoder(hub, vectors)
assert (before.card.revision, after.card.revision) == ("a" * 40, "b" * 40)
assert abs(before.encode(["red"]) - after.encode(["red"])).max() > 0.1
for settings in (hub, EmbeddingSettings(text_model="none", precision="float32")):
    for encoder in (before, after):
        found = text_encoder_of(encoder.card, settings, vectors)
        assert abs(found.encode(["red"]) - encoder.encode(["red"])).max() < 1e-6
"""


def test_of_a_model_on_the_hub_the_commit_of_the_card_is_loaded(tmp_path: Path) -> None:
    """From the hub's own cache on this machine, whatever `main` is by now."""
    cached = tmp_path / "hub" / "models--somebody--reader"
    for seed, commit in enumerate("ab"):
        models.save_reader(cached / "snapshots" / (commit * 40), seed)
    main = cached / "refs" / "main"
    main.parent.mkdir()
    main.write_text("a" * 40)
    own = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", FROM_THE_HUB, str(main), str(tmp_path / "vectors")]
    ended = subprocess.run(
        command, env=os.environ | own, capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
