import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Engine, text

from recsys.catalogue.database import (
    _revisions,
    check_schema,
    connect,
    migrate,
    reading,
    writing,
)
from recsys.catalogue.items import Item, get_item, patch_item, read_items, upsert_items
from recsys.catalogue.tables import Base, is_had
from recsys.config import DatabaseSettings, Settings
from recsys.errors import DatabaseError

NOW = datetime(2024, 5, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def on(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"database": DatabaseSettings(url=SecretStr(url))})


def test_the_migrations_make_exactly_what_the_code_expects(engine: Engine):
    with engine.connect() as connection:
        dialect = connection.dialect.name
        had = {"include_object": lambda part, *_: is_had(dialect, part)}
        context = MigrationContext.configure(connection, opts=had)
        assert compare_metadata(context, Base.metadata) == []


def test_alembic_check_finds_no_drift_from_the_checkout(migrated_settings: Settings):
    environment = os.environ | {"RECSYS_DATABASE__URL": migrated_settings.database_url}
    command = [sys.executable, "-m", "alembic", "check"]
    done = subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_folder_of_the_migrations_never_shadows_the_library():
    assert not (ROOT / "alembic" / "__init__.py").exists()


def test_what_the_files_of_the_migrations_say_is_what_alembic_reads_in_them():
    scripts = ScriptDirectory(str(ROOT / "alembic"))
    known = {script.revision for script in scripts.walk_revisions()}
    assert _revisions() == (known, scripts.get_current_head())


def test_migrating_twice_changes_nothing(engine: Engine):
    migrate(engine)
    check_schema(engine)


def test_a_database_that_was_never_migrated_is_refused_with_the_command_to_run(settings: Settings):
    with pytest.raises(DatabaseError, match=r"revision none.* needs \w+: run `recsys migrate`"):
        check_schema(connect(settings))


def test_using_an_unmigrated_database_gives_the_same_advice(settings: Settings):
    with (
        pytest.raises(DatabaseError, match="recsys migrate"),
        reading(connect(settings)) as connection,
    ):
        get_item(connection, "a")


def test_a_database_of_a_newer_version_is_not_touched(engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match=r"9999, which is newer.*upgrade recsys"):
        check_schema(engine)


def test_what_fails_half_way_leaves_nothing_behind(engine: Engine):
    with pytest.raises(RuntimeError), writing(engine) as connection:
        upsert_items(connection, [Item(id="a")], NOW)
        raise RuntimeError
    with reading(engine) as connection:
        assert len(read_items(connection)) == 0


def test_two_writers_at_once_lose_none_of_their_changes(engine: Engine):
    with writing(engine) as connection:
        upsert_items(connection, [Item(id="a")], NOW)

    def change(n: int) -> None:
        with writing(engine) as connection:
            patch_item(connection, "a", {"attributes": {f"key{n}": n}}, NOW)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(20)))
    with reading(engine) as connection:
        found = connection.execute(text("SELECT attributes FROM items")).scalar_one()
    assert all(f"key{n}" in str(found) for n in range(20))


def test_a_writer_that_waits_in_vain_is_told_that_another_one_writes(settings: Settings):
    engine = connect(settings)
    migrate(engine)
    impatient = connect(settings, busy_seconds=0.1)
    with writing(engine) as connection:
        upsert_items(connection, [Item(id="a")], NOW)
        with (
            pytest.raises(DatabaseError, match="another process is writing: try again") as caught,
            writing(impatient) as other,
        ):
            upsert_items(other, [Item(id="b")], NOW)
    assert "recsys migrate" not in str(caught.value)
    with writing(impatient) as other:
        assert upsert_items(other, [Item(id="b")], NOW).added == 1


def test_a_password_never_reaches_an_error(settings: Settings):
    away = on(settings, "postgresql+psycopg://user:s3cret@127.0.0.1:1/none")
    with pytest.raises(DatabaseError) as caught:
        connect(away)
    assert "127.0.0.1" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://u:s3cret@h/d", "nonsense s3cret", "postgres:s3cret"])
def test_a_url_that_cannot_be_used_is_refused_in_words(settings: Settings, url: str):
    with pytest.raises(DatabaseError, match=r"database\.url") as caught:
        connect(on(settings, url))
    assert "s3cret" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_one_clear_error(settings: Settings):
    settings.home.parent.joinpath("home").write_text("a file in the way")
    with pytest.raises(DatabaseError, match="cannot be made"):
        connect(settings)


def test_a_file_that_is_no_database_is_one_clear_error(settings: Settings):
    settings.home.mkdir()
    (settings.home / "recsys.db").write_text(
        "not a database, but long enough to be read as one" * 9
    )
    with pytest.raises(DatabaseError, match="not a database"):
        connect(settings)
