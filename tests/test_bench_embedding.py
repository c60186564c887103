"""The benchmark of embedding: its texts, and that its last line can be read."""

import json
from contextlib import redirect_stdout
from io import StringIO

import pytest

pytestmark = pytest.mark.usefixtures("modules_of_the_benchmarks")


def test_texts_are_short_and_long_and_the_same_from_the_same_seed() -> None:
    from embedding import item_texts

    texts = item_texts(300, seed=1)
    assert texts == item_texts(300, seed=1) != item_texts(300, seed=2)
    lengths = sorted(len(text.split()) for text in texts)
    assert lengths[30] < 10 and lengths[-30] > 100
    assert len(set(texts)) == 300


def test_the_embedding_benchmark_ends_with_its_figures() -> None:
    from embedding import main

    out = StringIO()
    with redirect_stdout(out):
        assert main(["--texts", "12", "--runs", "2", "--json"]) == 0
    figures = json.loads(out.getvalue().splitlines()[-1])
    assert figures["cosine_min"] >= 0.998
    assert 0 < figures["embed_ratio_low"] <= figures["embed_ratio"] <= figures["embed_ratio_high"]
