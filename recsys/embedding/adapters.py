"""What an encoder was taught about a catalogue, kept beside its vectors: it is a part of the encoder.

Another encoder, or the same one of other fields of the texts, has adapters of its own, or none.
"""

import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from recsys.embedding.encoder import EncoderCard
from recsys.embedding.projection import Projection
from recsys.errors import EncoderError


def adapter_of(card: EncoderCard, vectors: Path) -> Projection | None:
    """None where it was taught nothing. Raises EncoderError for a file that cannot be read.

    vectors: the folder that holds those of all encoders.
    """
    path = _path(card, vectors)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            adapter = Projection(found["mean"], found["matrix"], str(found["taught"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise EncoderError(
            f"{path} is not a readable adapter ({error}): run `recsys adapt` again, or delete it"
        ) from None
    if adapter.mean.shape != (card.dim,) or adapter.matrix.shape[:1] != (card.dim,):
        raise EncoderError(f"{path} does not fit vectors of {card.dim} numbers: delete it")
    return adapter


def keep(adapter: Projection, card: EncoderCard, vectors: Path) -> Path:
    """In place of the one before, in one step."""
    path = _path(card, vectors)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    with draft.open("wb") as out:
        np.savez(out, mean=adapter.mean, matrix=adapter.matrix, taught=np.array(adapter.taught))
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)
    return path


def forget(card: EncoderCard, vectors: Path) -> bool:
    """Whether there was something to forget."""
    path = _path(card, vectors)
    known = path.exists()
    path.unlink(missing_ok=True)
    return known


def _path(card: EncoderCard, vectors: Path) -> Path:
    return vectors / card.store / f"adapter-{card.fingerprint}.npz"
