"""A text encoder is fine-tuned by what the same people like: another encoder, in a folder of its own.

    likes before the validation --pairs of texts--> sentence-transformers' trainer--> a model --> measured --> folder

It is stopped by what is hidden from it, and judged by the events after: `adapting` says how. What the settings name
stays as it is.
"""
# ruff: noqa: PLC0415  torch and the trainer take seconds to import, and may not be there

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from sqlalchemy import Engine

from recsys.adapting import (
    NEW,
    RAW,
    TAUGHT,
    WHITENED,
    HeldOut,
    Lesson,
    Pupil,
    chosen_by_events,
    ndcg,
    read_vectors,
)
from recsys.config import Settings
from recsys.embedding.adapters import adapter_of
from recsys.embedding.contents import contents
from recsys.embedding.projection import Projection
from recsys.embedding.text import encode_texts, load_model, load_text_encoder, model_name
from recsys.errors import BuildError, InputError
from recsys.identity import Floats, Ordinals
from recsys.index.space import RIDGE
from recsys.record import Progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TUNED = "fine-tuned"
"""Whitened, as any encoder is."""

BATCH = 64
"""Pairs of a step: each text is to be nearer to its partner than to those of all the others."""

TOKENS = 64
"""Of a text while it is learned from, which takes as long as it is; a title and the beginning of a description."""

RATE = 2e-5
"""Of learning, at its most: pre-trained encoders of this size are fine-tuned so (Devlin et al. 2019)."""

EVERY = 50
"""Steps from one look at what is hidden to the next."""

PATIENCE = 3
"""Looks without a gain after which it ends."""

Texts = Sequence[str | None]


def tune(
    engine: Engine, settings: Settings, folder: Path, steps: int, progress: Progress
) -> Lesson:
    """Fine-tune the text encoder of the settings, measure, and write it to the folder if it is better.

    folder: does not exist yet, or is empty. Raises InputError for one that is not, BuildError where there is too
    little to learn from or the trainer is not installed.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder} is there already: name a new folder")
    _check_installed()
    world, table = read_vectors(engine, settings, "text", progress)
    pupil = Pupil.of(world.items, table)
    held_out = HeldOut.of(pupil, world, settings)
    texts: Any = contents(world.items, settings.embedding.text_fields)["text"]
    rows = {RAW: pupil.raw, WHITENED: pupil.white}
    if adapter_of(pupil.card, settings.home / "vectors"):
        progress.task("teaching the encoder as it is")
        rows[TAUGHT] = pupil.projected(chosen_by_events(pupil, held_out)[0])
    model = load_model(model_name(settings.embedding), "embedding.text_model")
    _train(model, pupil, held_out, texts, steps, settings, progress)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _draft(folder) as draft:
        model.save_pretrained(str(draft), create_model_card=False)
        progress.task("measuring")
        embedding = settings.embedding.model_copy(update={"text_model": str(draft)})
        encoder = load_text_encoder(embedding)
        assert encoder is not None, "its model was just written"
        rows[TUNED] = _whitened(
            encoder.encode, texts, np.flatnonzero(pupil.present), encoder.card.dim
        )
        figures = held_out.figures(rows, settings)
        lesson = Lesson(pupil.card, figures, NEW, len(held_out.test[NEW]))
        if lesson.kept:
            draft.chmod(0o755)
            draft.replace(folder)
    return lesson


def _check_installed() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("datasets", "accelerate") if find_spec(name) is None]
    if missing:
        raise BuildError(f"fine-tuning needs {' and '.join(missing)}: pip install 'recsys[tune]'")


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """An empty folder beside it, which is gone in the end unless it took its place."""
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _whitened(
    encode: Callable[[Sequence[str]], Floats], texts: Texts, items: Ordinals, dim: int
) -> Floats:
    """(n, dim) of these items, which have texts; zero for others."""
    rows = np.zeros((len(texts), dim), dtype=np.float32)
    found = encode([texts[item] or "" for item in items])
    rows[items] = Projection.whitening(found, RIDGE["text"]).apply(found)
    return rows


def _train(
    model: "SentenceTransformer",
    pupil: Pupil,
    held_out: HeldOut,
    texts: Texts,
    steps: int,
    settings: Settings,
    progress: Progress,
) -> None:
    """In place: the best of what was looked at.

    By the likeness of a text to its partner among those of all others in the step (van den Oord et al. 2018).
    """
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar
    from sentence_transformers import (
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.training_args import BatchSamplers
    from transformers import PrinterCallback

    disable_progress_bar()
    model.model_card_data.widget = [{}]  # else examples are made for a card, which nobody writes
    whole = model.max_seq_length
    model.max_seq_length = min(whole or TOKENS, TOKENS)
    rng = np.random.default_rng(settings.evaluation.seed)
    one, other = _pairs(held_out.learned, pupil, steps * BATCH, rng)
    few = held_out.few
    asked = np.unique(np.concatenate([few.among, *few.likes]))

    def worth() -> float:
        def encode(some: Sequence[str]) -> Floats:
            return encode_texts(model.encode_document, some, pupil.card.dim, BATCH)

        return float(ndcg(_whitened(encode, texts, asked, pupil.card.dim), few).mean())

    watch = _watching(model, worth, progress.task("fine-tuning", steps))
    pairs = {"one": [texts[item] for item in one], "other": [texts[item] for item in other]}
    with tempfile.TemporaryDirectory() as scratch:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=scratch,
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            warmup_steps=max(1, steps // 10),
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            seed=settings.evaluation.seed,
        )
        trainer = SentenceTransformerTrainer(
            model,
            arguments,
            train_dataset=Dataset.from_dict(pairs),
            loss=MultipleNegativesRankingLoss(model),
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)  # it writes to where results go
        trainer.train()
    watch.look()
    model.load_state_dict(watch.best)
    model.eval()
    model.max_seq_length = whole


def _watching(
    model: "SentenceTransformer", worth: Callable[[], float], advance: Callable[[int], None]
) -> Any:  # noqa: ANN401  transformers is only imported here
    """What looks at the model every so many steps, keeps its best state, and ends the training."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        most = -np.inf
        waited = 0

        def look(self) -> None:
            model.eval()
            found = worth()
            model.train()
            self.waited += 1
            if found > self.most:
                self.most, self.waited = found, 0
                self.best = {name: value.clone() for name, value in model.state_dict().items()}

        def on_train_begin(self, *_: object, **__: object) -> None:
            self.look()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401
            del args, kwargs
            advance(state.global_step)
            if state.global_step % EVERY == 0 and state.global_step < state.max_steps:
                self.look()
                control.should_training_stop |= self.waited >= PATIENCE

    return Watch()


def _pairs(
    likes: csr_array, pupil: Pupil, count: int, rng: np.random.Generator
) -> tuple[Ordinals, Ordinals]:
    """(count,) and (count,) two different items with texts that one person likes. Who likes much says less of each.

    Raises BuildError where nobody likes two.
    """
    known = csr_array(likes.multiply(pupil.present[None, :]))
    known.eliminate_zeros()
    sizes = np.diff(known.indptr)
    odds = np.where(sizes > 1, np.sqrt(sizes), 0.0)
    if not odds.any():
        raise BuildError("nobody liked two items with a text: import more events")
    people = rng.choice(len(odds), count, p=odds / odds.sum())
    first = rng.integers(sizes[people])
    second = (first + rng.integers(1, sizes[people])) % sizes[people]
    start = known.indptr[people]
    items = known.indices.astype(np.int64)
    return items[start + first], items[start + second]
