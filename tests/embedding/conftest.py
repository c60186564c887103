"""Real encoders, loaded once: the offline ones."""

import pytest
import torch

from recsys.config import EmbeddingSettings
from recsys.embedding.image import LiteEncoder, load_image_encoder
from recsys.embedding.text import TextEncoder, load_text_encoder

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def minilm() -> TextEncoder:
    encoder = load_text_encoder(EmbeddingSettings(precision="float32"))
    assert encoder
    return encoder


@pytest.fixture(scope="session")
def lite() -> LiteEncoder:
    encoder = load_image_encoder(EmbeddingSettings())
    assert isinstance(encoder, LiteEncoder)
    return encoder
