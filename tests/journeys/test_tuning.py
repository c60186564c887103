"""A shop trains its text encoder, and embeds with what comes of it."""

from pathlib import Path

import pytest
from command_line import Recsys
from materials import Quiet, alike, events, shop, titles_first

from recsys import tuning
from recsys.adapting import GAIN, RAW, TAUGHT, WHITENED
from recsys.config import Settings
from recsys.embedding import adapters
from recsys.errors import InputError
from recsys.rebuild import rebuild

STEPS = 15


def test_a_tuned_encoder_is_measured_written_and_used(settings: Settings, tmp_path: Path) -> None:
    settings, folder = titles_first(settings), tmp_path / "models" / "tuned"
    engine = shop(settings, events(by_material=True))
    rebuild(engine, settings, Quiet())
    before = alike(settings, "oak-chair")
    lesson = tuning.tune(engine, settings, folder, STEPS, Quiet())
    figures = lesson.figures[lesson.decided_by]
    assert list(figures) == [RAW, WHITENED, tuning.TUNED, GAIN]
    assert lesson.kept and figures[tuning.TUNED].value > figures[WHITENED].value
    assert [each.name for each in folder.parent.iterdir()] == ["tuned"]
    with pytest.raises(InputError, match="is there already"):
        tuning.tune(engine, settings, folder, STEPS, Quiet())

    embedding = settings.embedding.model_copy(update={"text_model": str(folder)})
    assert rebuild(engine, settings.model_copy(update={"embedding": embedding}), Quiet()).changed
    assert alike(settings, "oak-chair") > before


def test_what_is_liked_by_chance_tunes_nothing_and_leaves_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    settings, folder = titles_first(settings), tmp_path / "models" / "tuned"
    engine = shop(settings, events(by_material=False))
    assert not tuning.tune(engine, settings, folder, 2, Quiet()).kept
    assert not list(folder.parent.iterdir())


def test_it_must_be_better_than_what_the_encoder_was_taught(
    settings: Settings, tmp_path: Path
) -> None:
    """Of which the one in force saw all items: what it is compared with was taught none of those asked about."""
    from recsys.adapting import adapt

    settings = titles_first(settings)
    engine = shop(settings, events(by_material=True))
    taught = adapt(engine, settings, "text", {}, Quiet())
    assert adapters.adapter_of(taught.card, settings.home / "vectors")
    lesson = tuning.tune(engine, settings, tmp_path / "tuned", 1, Quiet())
    figures, before = (each.figures[each.decided_by] for each in (lesson, taught))
    assert figures[TAUGHT] == before[TAUGHT]
    assert not lesson.kept
    assert figures[GAIN].value == pytest.approx(figures[tuning.TUNED].value - figures[TAUGHT].value)


def test_on_the_command_line(recsys: Recsys, tmp_path: Path) -> None:
    assert recsys("migrate").returncode == 0
    refused = recsys("adapt", "--fine-tune", str(tmp_path / "tuned"), "--kind", "image")
    assert refused.returncode == 1 and "--fine-tune is for texts" in refused.stderr
    lacking = recsys("adapt", "--fine-tune", str(tmp_path / "tuned"))
    assert lacking.returncode == 1 and "the catalogue is empty" in lacking.stderr
