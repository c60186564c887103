"""What a rebuild takes over from the snapshot being served, and that it serves nobody worse for it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from recsys.catalogue.database import connect, writing
from recsys.catalogue.events import Event, append_events
from recsys.catalogue.items import patch_item
from recsys.config import EvaluationSettings, PreferenceSettings, Settings, SnapshotSettings
from recsys.evaluation.past import Found
from recsys.evaluation.result import Estimate, Evaluation
from recsys.gate import gate
from recsys.hashes import sha256
from recsys.preference.models import Preference
from recsys.ranking.candidates import Query
from recsys.ranking.recommender import Recommender
from recsys.rebuild import Outcome, read_world, rebuild
from recsys.reuse import Inputs, Last
from recsys.snapshot import Snapshots

Build = Callable[..., Outcome]

DAY_101 = datetime.fromtimestamp(1_700_000_000, UTC) + timedelta(days=101)


class Silent:
    def task(self, name: str, total: int | None = None) -> Callable[[int], None]:
        del name, total
        return lambda _: None


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    engine = connect(Settings(home=home))
    yield engine
    engine.dispose()


@pytest.fixture
def build(home: Path, engine: Engine) -> Build:
    settings = Settings(
        home=home,
        preference=PreferenceSettings(search=False),
        snapshots=SnapshotSettings(
            tolerance=0.3
        ),  # so small a shop looks better or worse by chance
    )

    def run(**options: bool) -> Outcome:
        return rebuild(engine, settings, Silent(), **options)

    return run


@pytest.fixture
def snapshots(home: Path) -> Snapshots:
    return Snapshots(home / "snapshots")


def test_a_rebuild_with_no_new_text_loads_no_model(home: Path) -> None:
    """In a process of its own, since this one has loaded everything."""
    script = (
        "import sys; from recsys.cli import app; sys.argv[1:] = ['rebuild', '--force'];"
        "app(standalone_mode=False); print([name in sys.modules for name in ('torch', 'numba')])"
    )
    environment = os.environ | {"RECSYS_HOME": str(home), "RECSYS_PREFERENCE__SEARCH": "false"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[False, True]"


def a_night(engine: Engine, snapshots: Snapshots) -> None:
    """1 % more events, by customers who stay in their department."""
    _, artefacts = snapshots.load_current()
    ids = list(artefacts.items.ids)
    of = {name: [i for i in ids if i.startswith(name)] for name in ("Garden", "Kitchen", "Cycling")}
    rng = np.random.default_rng(1)
    events = [
        Event(
            user_id=f"c{n}",
            item_id=str(rng.choice(list(of.values())[n % 3])),
            type="purchase",
            time=DAY_101 + timedelta(minutes=n),
        )
        for n in range(16)
    ]
    with writing(engine) as connection:
        append_events(connection, events)


def files(snapshots: Snapshots, snapshot: str) -> dict[str, str]:
    folder = snapshots.folder / snapshot
    return {name: sha256(folder / name) for name in snapshots.manifest(snapshot).files}


def slates(snapshots: Snapshots) -> list[list[str]]:
    manifest, artefacts = snapshots.load_current()
    recommender = Recommender.of(artefacts, Settings().ranking)
    pages = [np.array([n]) for n in range(0, 96, 4)]
    asked = [Query(manifest.built_at, 10, context=page) for page in pages]
    return [[str(s.item) for s in recommender.recommend(query).items] for query in asked]


def test_after_a_night_settings_and_weights_hold_and_the_slates_are_those_of_a_full_build(
    build: Build, engine: Engine, snapshots: Snapshots
) -> None:
    a_night(engine, snapshots)
    night = build()
    assert night.evaluation.basis is not None
    assert night.evaluation.basis.builds == 1
    assert set(night.evaluation.models) == {"blend", "popularity"}
    quick = slates(snapshots)
    full = build(full=True)
    assert full.evaluation.basis is not None
    assert full.evaluation.basis.builds == 0
    thorough = slates(snapshots)
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(quick, thorough, strict=True)]
    assert np.mean(shared) > 0.95
    mine, theirs = (each.evaluation.models["blend"].metrics["ndcg@10"] for each in (night, full))
    assert mine.low is not None
    assert mine.high is not None
    assert mine.low <= theirs.value <= mine.high
    assert mine.value > 0.95 * theirs.value


def test_what_is_made_from_the_same_is_the_same_to_the_byte(
    build: Build, engine: Engine, snapshots: Snapshots
) -> None:
    """A price changes: no vector, no model and no figure depends on it."""
    before = snapshots.current_id()
    with writing(engine) as connection:
        patch_item(connection, "Garden/rake/red", {"price": 99.0}, datetime.now(UTC))
    old, new = (files(snapshots, each) for each in (before, build().manifest.id))
    differ = {name for name in old if old[name] != new[name]}
    assert differ <= {"items.arrow", "stages.json", "preference/as_of.npy", "report.html"}
    assert {"text.rows.npy", "evaluation.json", "preference/linear.data.npy"} <= set(old) - differ


def test_when_models_are_taken_over_a_fresh_fit_would_give_the_same(
    build: Build, engine: Engine, snapshots: Snapshots
) -> None:
    with writing(engine) as connection:
        patch_item(connection, "Garden/rake/red", {"price": 99.0}, datetime.now(UTC))
    taken, fresh = (
        Preference.load(snapshots.folder / build(**how).manifest.id / "preference")
        for how in ({}, {"full": True})
    )
    for name in taken.rows:
        again, new = (model.rows[name][0].toarray() for model in (taken, fresh))
        np.testing.assert_allclose(again, new, atol=1e-4, err_msg=name)
    assert taken.factors is not None
    assert fresh.factors is not None
    np.testing.assert_allclose(taken.factors.items, fresh.factors.items, atol=1e-3)


def test_an_item_of_another_category_is_fitted_and_measured_anew(engine: Engine) -> None:
    """What is lent to new items by texts and by pictures is weighed by category, whether or not a text names it."""
    settings = Settings()
    found = Found(settings.preference, settings.events)

    def digests() -> tuple[str, str]:
        world = read_world(engine, Silent())
        inputs = Inputs.of(world.items, world.log, {})
        return inputs.preference(found, settings), inputs.evaluation(settings)

    before = digests()
    for change, fits_anew in ({"title": "Rake"}, False), ({"categories": ["Tools"]}, True):
        with writing(engine) as connection:
            patch_item(connection, "Garden/rake/red", change, datetime.now(UTC))
        assert [old != new for old, new in zip(before, digests(), strict=True)] == [fits_anew] * 2


def test_an_item_on_sale_no_longer_is_measured_anew(
    build: Build, engine: Engine, snapshots: Snapshots
) -> None:
    stages = json.loads((snapshots.folder / snapshots.current_id() / "stages.json").read_text())
    with writing(engine) as connection:
        patch_item(connection, "Garden/rake/red", {"available": False}, datetime.now(UTC))
    basis = build().evaluation.basis
    assert basis is not None
    assert basis.builds == 1  # 0 had it been taken over whole
    last = Last.of(snapshots)
    assert last is not None
    assert last.stages["evaluation"] != stages["evaluation"]
    assert last.stages["preference"] == stages["preference"]


def test_a_damaged_snapshot_gives_nothing_away(
    build: Build, engine: Engine, snapshots: Snapshots
) -> None:
    a_night(engine, snapshots)
    damaged = snapshots.folder / snapshots.current_id() / "text.rows.npy"
    content = bytearray(damaged.read_bytes())
    content[-5] ^= 1
    damaged.write_bytes(content)
    mended = build()
    assert mended.evaluation.basis is not None
    assert mended.evaluation.basis.builds == 0
    snapshots.verify(mended.manifest.id)


def test_nothing_is_taken_from_another_version(
    build: Build, engine: Engine, snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_night(engine, snapshots)
    for module in ("recsys.reuse", "recsys.rebuild", "recsys.evaluation.basis"):
        monkeypatch.setattr(f"{module}.made_by", lambda: "another version")
    last = Last.of(snapshots)
    assert last is not None
    assert last.artefacts is None
    basis = build().evaluation.basis
    assert basis is not None
    assert basis.builds == 0


def test_weights_that_no_longer_do_are_learned_again_before_the_gate_refuses(
    build: Build, engine: Engine, snapshots: Snapshots
) -> None:
    current = snapshots.current_id()
    path = snapshots.folder / current / "evaluation.json"
    evaluation = Evaluation.from_json(path.read_text())
    upside_down = {segment: {"popular": -1.0} for segment in evaluation.weights}
    path.write_text(evaluation.model_copy(update={"weights": upside_down}).to_json())
    manifest = snapshots.manifest(current)
    renewed = manifest.model_copy(
        update={"files": {**manifest.files, "evaluation.json": sha256(path)}}
    )
    (path.parent / "manifest.json").write_text(renewed.model_dump_json())
    a_night(engine, snapshots)
    outcome = build()
    assert outcome.overruled is None
    assert outcome.evaluation.basis is not None
    assert outcome.evaluation.basis.builds == 0
    assert outcome.evaluation.weights["history"] != upside_down["history"]


@pytest.mark.parametrize(
    "other", [{"test": 0.3}, {"protocol": "leave-one-out"}, {"cold_items": 0.2}]
)
def test_figures_of_another_kind_of_test_are_no_bar(
    home: Path, engine: Engine, snapshots: Snapshots, other: dict[str, object]
) -> None:
    """The current snapshot claims a perfect score, which only a build measured in the same way has to reach."""
    current = snapshots.current_id()
    path = snapshots.folder / current / "evaluation.json"
    evaluation = Evaluation.from_json(path.read_text())
    blend = evaluation.models["blend"]
    perfect = {"ndcg@10": Estimate(1.0, 1.0, 1.0)}
    every = {
        name: part.model_copy(update={"metrics": {**part.metrics, **perfect}})
        for name, part in blend.slices.items()
    }
    models = {**evaluation.models, "blend": blend.model_copy(update={"slices": every})}
    claimed = evaluation.model_copy(update={"models": models})
    manifest = snapshots.manifest(current)
    settings = Settings().snapshots
    assert "the current snapshot" in (gate(manifest, manifest, evaluation, claimed, settings) or "")
    path.write_text(claimed.to_json())
    renewed = manifest.model_copy(
        update={"files": {**manifest.files, "evaluation.json": sha256(path)}}
    )
    (path.parent / "manifest.json").write_text(renewed.model_dump_json())
    changed = Settings(
        home=home,
        preference=PreferenceSettings(search=False),
        evaluation=EvaluationSettings.model_validate(other),
    )
    assert rebuild(engine, changed, Silent()).overruled is None
