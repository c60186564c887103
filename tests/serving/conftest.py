"""A real server on a port of this machine, over the small world.

api      one's own, with its own database of either kind: change what you like
shared   one for all on SQLite: look, but change nothing
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import worlds
from apis import Api, running, served_quickly
from sqlalchemy import Engine

from recsys.catalogue.database import connect, migrate
from recsys.config import Settings
from recsys.snapshot import Artefacts


@pytest.fixture
def api(migrated_settings: Settings, engine: Engine, artefacts: Artefacts) -> Iterator[Api]:
    settings = served_quickly(migrated_settings)
    worlds.fill(engine)
    snapshot = worlds.publish(settings.home, artefacts)
    with running(settings) as client:
        yield Api(client, settings, engine, artefacts, snapshot)


@pytest.fixture(scope="session")
def shared(artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    settings = served_quickly(Settings(home=Path(tmp_path_factory.mktemp("shared"))))
    engine = connect(settings)
    migrate(engine)
    worlds.fill(engine)
    snapshot = worlds.publish(settings.home, artefacts)
    with running(settings) as client:
        yield Api(client, settings, engine, artefacts, snapshot)
    engine.dispose()
