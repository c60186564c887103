"""A text encoder in a process of its own: the same vectors, the same problems, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from recsys.config import EmbeddingSettings
from recsys.embedding.apart import Apart
from recsys.embedding.text import TextEncoder, load_text_encoder
from recsys.errors import EncoderError

TEXTS = ["", "A red lipstick", "Pruning shears, small", "口紅 💄", "a b c " * 100] * 20
FLOAT32 = EmbeddingSettings(precision="float32")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where no model has been loaded yet."""
    return tmp_path_factory.mktemp("vectors")


@pytest.fixture(scope="module")
def apart(vectors: Path) -> Iterator[Apart]:
    with closing(Apart(FLOAT32, vectors)) as encoder:
        yield encoder


def test_the_vectors_are_those_of_the_encoder(apart: Apart, minilm: TextEncoder) -> None:
    for texts in (TEXTS, TEXTS[:1], []):
        np.testing.assert_allclose(apart.encode(texts), minilm.encode(texts), atol=1e-5)


def test_a_model_that_was_loaded_before_is_not_waited_for(apart: Apart, vectors: Path) -> None:
    assert apart.card == load_text_encoder(FLOAT32).card  # type: ignore[union-attr]
    with closing(Apart(FLOAT32, vectors)) as again:
        again._process.kill()  # it cannot tell
        assert again.card == apart.card


def test_a_model_that_cannot_be_loaded_says_why_each_time(tmp_path: Path) -> None:
    missing = FLOAT32.model_copy(update={"text_model": "/no/such/folder"})
    with closing(Apart(missing, tmp_path)) as encoder:
        for _ in range(2):
            with pytest.raises(EncoderError, match=r"embedding\.text_model: cannot load '/no/such"):
                encoder.encode(["red"])


def test_a_process_that_ends_is_a_clear_error(tmp_path: Path) -> None:
    with closing(Apart(FLOAT32, tmp_path)) as encoder:
        encoder._process.kill()
        with pytest.raises(EncoderError, match="ended with -9"):
            encoder.encode(["red"])


def test_closed_while_it_loads_it_is_gone(tmp_path: Path) -> None:
    with closing(Apart(FLOAT32, tmp_path)) as encoder:
        assert encoder._process.poll() is None
    assert encoder._process.returncode == -signal.SIGKILL


def test_it_ends_when_the_process_that_asked_for_it_is_killed(tmp_path: Path) -> None:
    makes_one = (
        "import sys, time; from pathlib import Path; from recsys.config import EmbeddingSettings; "
        "from recsys.embedding.apart import Apart; encoder = Apart(EmbeddingSettings(), Path(sys.argv[1])); "
        "print(encoder._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", makes_one, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as asking:
        assert asking.stdout is not None
        encoding = int(asking.stdout.readline())
        asking.kill()
    waited_until = time.monotonic() + 60
    while _lives(encoding) and time.monotonic() < waited_until:
        time.sleep(0.1)
    assert not _lives(encoding)


def _lives(process: int) -> bool:
    """Not one that has ended and that nobody has asked about since."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
