"""Real encoders, loaded once: the offline ones, and a tiny CLIP that is made here."""

from pathlib import Path

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


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CLIP of random weights in sentence-transformers' own format."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    parts, folder = tmp_path_factory.mktemp("parts"), tmp_path_factory.mktemp("clip") / "tiny-clip"
    letters = "abcdefghijklmnopqrstuvwxyz0123456789./:"
    tokens = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    vocabulary = {token: n for n, token in enumerate(tokens)}
    tokenizer = CLIPTokenizerFast(vocab=vocabulary, merges=[], model_max_length=77)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    small["num_attention_heads"] = 2
    start, end = len(tokens) - 2, len(tokens) - 1
    marks = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config={**small, **marks, "vocab_size": len(tokens)},
            vision_config={**small, "image_size": 32, "patch_size": 8},
            projection_dim=24,
        )
    )
    model.save_pretrained(parts)
    side = {"height": 32, "width": 32}
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=side)
    CLIPProcessor(pictures, tokenizer).save_pretrained(parts)
    whole = SentenceTransformer(modules=[Transformer(str(parts))], device="cpu")
    whole.save(str(folder), create_model_card=False)
    return folder
