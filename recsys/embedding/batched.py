"""Many texts through a standard sentence-transformers model: the vectors of its own `encode`, sooner.

    texts --tokenizer--> tokens, longest first --> batches of few tokens --> a thread per core --> rows

`encode` pads 32 texts to the longest of them and shares every step between the cores, and what its layers hand
on fits no cache. Here a batch holds as many texts of one length as do fit, and is one core's own, while the next
texts are tokenized. Where CTranslate2 knows the architecture, it computes the transformer.
"""
# ruff: noqa: PLC0415  torch takes seconds to import: not before a model is loaded

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys.embedding.encoder import unit_rows
from recsys.identity import Floats

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

Tokens = list[int]
Forward = Callable[[Sequence[Tokens]], "torch.Tensor"]
"""The tokens of some texts -> (n, dim) vectors."""

BATCH_TOKENS = 1_024
"""Tokens of a batch, padding included, unless one text has more: what the layers hand on stays in the cache."""

TOKENIZED_AT_ONCE = 256
"""Texts; few enough that the cores soon have work, and that what waits is small."""

WAITING_PER_THREAD = 4
"""Batches that wait for each thread before the tokenizer pauses."""

CONVERTIBLE = {"bert", "camembert", "distilbert", "roberta", "xlm-roberta"}
"""Architectures that CTranslate2 knows as encoders."""

PROBES = ("", "  Two  WORDS. ", "Ünïcode 口紅 💄", "a text that is too long for any model " * 75)
AGREEMENT = 0.9999
"""The least cosine between plain vectors and these, on each probe; usually it is 1 but for rounding."""


class BatchedModel:
    """A model's transformer and the modules behind it, on texts in batches of our own making."""

    def __init__(
        self, model: "SentenceTransformer", forward: Forward, dim: int, at_once: int
    ) -> None:
        self._tokenizer, self._forward = model.tokenizer, forward
        self._dim, self._at_once = dim, at_once

    def encode(self, texts: Sequence[str]) -> Floats:
        """(len(texts), dim) unit rows. Not for two threads at once: tokenizers do not bear it."""
        rows = np.empty((len(texts), self._dim), dtype=np.float32)
        with one_core_each() as threads, ThreadPoolExecutor(threads) as pool:
            running: deque[Future[None]] = deque()
            for places, tokens in self._batches(texts):
                running.append(pool.submit(self._fill, rows, places, tokens))
                if len(running) > WAITING_PER_THREAD * threads:
                    running.popleft().result()
            for last in running:
                last.result()
        return unit_rows(rows)

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], list[Tokens]]]:
        """Places in `texts` and what stands there, in tokens."""
        longest_first = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        for start in range(0, len(texts), TOKENIZED_AT_ONCE):
            some = longest_first[start : start + TOKENIZED_AT_ONCE]
            tokens = self._tokens([texts[place] for place in some])
            pairs = sorted(zip(some, tokens, strict=True), key=lambda pair: -len(pair[1]))
            while pairs:
                count = min(self._at_once, max(1, BATCH_TOKENS // max(1, len(pairs[0][1]))))
                batch, pairs = pairs[:count], pairs[count:]
                yield [place for place, _ in batch], [mine for _, mine in batch]

    def _tokens(self, texts: Sequence[str]) -> list[Tokens]:
        found: list[Tokens] = self._tokenizer(list(texts), truncation=True)["input_ids"]
        return found

    def _fill(self, rows: Floats, places: list[int], tokens: Sequence[Tokens]) -> None:
        import torch

        with torch.inference_mode():
            rows[places] = self._forward(tokens).float().numpy()


def batched(model: "SentenceTransformer", dim: int, at_once: int) -> BatchedModel | None:
    """The model in batches of at most `at_once` texts; None where plain `encode` does something more.

    What it gives is compared with plain vectors before it is trusted.
    """
    if not _is_standard(model):
        return None
    plain = unit_rows(model.encode(list(PROBES), show_progress_bar=False))
    for forward in (_by_ctranslate2(model), _by_torch(model)):
        if forward is not None:
            quick = BatchedModel(model, forward, dim, at_once)
            if ((quick.encode(PROBES) * plain).sum(axis=1) >= AGREEMENT).all():
                return quick
    return None


def _is_standard(model: "SentenceTransformer") -> bool:
    """Whether it reads bare text alone, tokenizes in Rust, and treats queries and documents alike."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    first = model[0]
    return (
        type(model) is SentenceTransformer
        and type(first) is Transformer
        and first.modalities == ["text"]
        and bool(getattr(model.tokenizer, "is_fast", False))
        and model.tokenizer.pad_token_id is not None
        and model.tokenizer.padding_side == "right"
        and not any(model.prompts.values())
        and model.default_prompt_name is None
        and model.truncate_dim is None
        and first.query_length is first.document_length is first.query_expansion is None
    )


def _by_torch(model: "SentenceTransformer") -> Forward:
    import torch

    pad = model.tokenizer.pad_token_id

    def forward(tokens: Sequence[Tokens]) -> torch.Tensor:
        ids = torch.full((len(tokens), max(map(len, tokens))), pad)
        for row, mine in zip(ids, tokens, strict=True):
            row[: len(mine)] = torch.tensor(mine)
        features = {"input_ids": ids, "attention_mask": _mask(tokens), "modality": "text"}
        vectors: torch.Tensor = model(features)["sentence_embedding"]
        return vectors

    return forward


def _by_ctranslate2(model: "SentenceTransformer") -> Forward | None:
    """None for another number type than float32, an architecture it does not know, or one it knows otherwise."""
    import ctranslate2
    import torch
    from transformers import PreTrainedModel

    network: PreTrainedModel = model[0].auto_model  # type: ignore[assignment]
    if network.config.model_type not in CONVERTIBLE or network.dtype != torch.float32:
        return None
    with tempfile.TemporaryDirectory() as folder:
        original, converted = Path(folder) / "original", Path(folder) / "converted"
        network.save_pretrained(original)
        model.tokenizer.save_pretrained(original)
        try:
            ctranslate2.converters.TransformersConverter(str(original)).convert(str(converted))
        except Exception:  # it raises whatever it stumbles over
            return None
        threads = torch.get_num_threads()
        encoder = ctranslate2.Encoder(
            str(converted), compute_type="float32", inter_threads=threads, intra_threads=1
        )
        torch.set_num_threads(threads)  # it left this thread's OpenMP at one

    def forward(tokens: Sequence[Tokens]) -> torch.Tensor:
        hidden = np.array(encoder.forward_batch(list(tokens)).last_hidden_state)
        features: dict[str, Any] = {
            "token_embeddings": torch.from_numpy(hidden),
            "attention_mask": _mask(tokens),
            "modality": "text",
        }
        for module in list(model)[1:]:
            features = module(features)
        vectors: torch.Tensor = features["sentence_embedding"]
        return vectors

    return forward


def _mask(tokens: Sequence[Tokens]) -> "torch.Tensor":
    """(n, longest): 1 where a text has a token, 0 behind its end."""
    import torch

    lengths = torch.tensor([len(mine) for mine in tokens])
    return (torch.arange(int(lengths.max())) < lengths[:, None]).long()


@contextmanager
def one_core_each() -> Iterator[int]:
    """Threads made within compute alone; gives the number of them that keeps torch's cores busy."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
