"""Cards and fingerprints."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.embedding.encoder import EncoderCard, unit_rows

CARD = EncoderCard("model", "revision", "text", 384, 256, "title. brand")


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"revision": "other"},
        {"modality": "image"},
        {"dim": 385},
        {"max_tokens": None},
        {"template": "title"},
        {"shared_space": True},
    ],
)
def test_every_field_of_a_card_changes_its_fingerprint(change: dict[str, object]) -> None:
    assert replace(CARD, **change).fingerprint != CARD.fingerprint


def test_a_fingerprint_is_16_characters_and_the_same_in_every_process() -> None:
    assert CARD.fingerprint == "ec7763b052102606"


def test_only_the_fields_of_a_text_have_no_say_in_where_its_vectors_are_kept() -> None:
    assert replace(CARD, template="title").store == CARD.store
    assert replace(CARD, revision="other").store != CARD.store
    picture = replace(CARD, modality="image")
    assert (
        replace(picture, template="title").store != picture.store == f"image-{picture.fingerprint}"
    )


def test_a_card_survives_json() -> None:
    assert EncoderCard.from_json(CARD.to_json()) == CARD


def test_unit_rows_are_float32_and_zero_stays_zero() -> None:
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]], atol=1e-7)
