"""What every encoder is: contents in, unit vectors out, and a card saying what those vectors mean.

Vectors of two encoders may be compared only when their cards are equal, so the card travels with every
vector: into the store, the table and the snapshot.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.identity import Floats

Content_contra = TypeVar("Content_contra", contravariant=True)

Modality = Literal["text", "image"]

LIBRARIES = ("sentence-transformers", "transformers", "tokenizers", "torch")
"""Those that say what a model is like."""


@dataclass(frozen=True)
class EncoderCard:
    """Everything that changes what a vector means. Precision is not in it: bfloat16 moves a vector by less
    than an edit of the text would, and a machine without it must not have to embed all anew.
    """

    model: str
    revision: str
    """Commit on the hub, or a digest of the model's files."""
    modality: Modality
    dim: int
    max_tokens: int | None
    """Text beyond this many tokens is cut off; None for models that read no text."""
    template: str
    """How a content is prepared: the fields of a text in their order, or the steps of a picture."""
    shared_space: bool = False
    """True where text and pictures are encoded into one space (the CLIP family)."""

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal characters that differ whenever any field does."""
        fields = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.blake2b(fields.encode(), digest_size=8).hexdigest()

    @property
    def store(self) -> str:
        """Names the folder of its vectors. A text has the same one whichever fields it was made of."""
        card = replace(self, template="") if self.modality == "text" else self
        return f"{self.modality}-{card.fingerprint}"

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns back into an equal card."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "EncoderCard":
        """The card of a JSON object. Raises TypeError when a field is missing or unknown."""
        return cls(**fields)


def remember(card: EncoderCard, named: str, vectors: Path) -> None:
    """Keep the card of a loaded model beside its vectors, and where the model lies.

    The next one who has nothing to encode need not load it, and who meets its vectors finds it when the settings
    name another. named: as in the settings. vectors: the folder that holds those of all encoders.
    """
    place = Path(named)
    lies = str(place.resolve()) if place.is_dir() else named
    told = {"card": card.to_json(), "model": lies, "libraries": _libraries()}
    if _told(vectors / card.store) == told:
        return
    folder = vectors / card.store
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".card-{os.getpid()}"
    draft.write_text(json.dumps(told, indent=1), encoding="utf-8")
    draft.replace(folder / "card.json")


def lies_at(card: EncoderCard, vectors: Path) -> str | None:
    """The folder or the hub id of the model that made vectors of this card, as last noted; None: not noted."""
    place = _told(vectors / card.store).get("model")
    return place if isinstance(place, str) else None


def remembered(modality: Modality, revision: str, vectors: Path) -> EncoderCard | None:
    """The card of these files as these libraries read them; None where they have not been loaded yet."""
    return next(
        (card for card in _remembered(modality, vectors) if card.revision == revision), None
    )


def _remembered(modality: Modality, vectors: Path) -> Iterator[EncoderCard]:
    for path in vectors.glob(f"{modality}-*/card.json"):
        told = _told(path.parent)
        try:
            if told.get("libraries") == _libraries():
                yield EncoderCard.from_json(told["card"])
        except (KeyError, TypeError):
            continue


def _told(folder: Path) -> dict[str, Any]:
    """What was kept beside vectors; empty where nothing is, or nothing to be read."""
    try:
        told = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _libraries() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


class Encoder(Protocol[Content_contra]):
    """Turns contents of one kind into vectors."""

    @property
    def card(self) -> EncoderCard:
        """What the vectors mean."""

    def encode(self, contents: Sequence[Content_contra]) -> Floats:
        """(len(contents), card.dim) unit rows in the same order; a single content is a batch of one."""


def unit_rows(rows: NDArray[np.floating]) -> Floats:
    """Each row divided by its length, in float32; a row of zeros stays so."""
    lengths = np.sqrt(np.vecdot(rows, rows))[..., np.newaxis]
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)
