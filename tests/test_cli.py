"""The command line: help that reads well, and one clear message for every mistake."""

import json
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_line import Recsys

from recsys.catalogue.database import connect, migrate, writing
from recsys.catalogue.items import Item, upsert_items
from recsys.config import Settings

COMMANDS = [
    [],
    ["migrate"],
    ["import"],
    ["import", "items"],
    ["import", "events"],
    ["rebuild"],
    ["duplicates"],
    ["evaluate"],
    ["batch"],
    ["serve"],
    ["snapshots"],
    ["snapshots", "list"],
    ["snapshots", "verify"],
    ["snapshots", "rollback"],
    ["snapshots", "prune"],
    ["rules"],
    ["rules", "list"],
    ["rules", "add"],
    ["rules", "remove"],
    ["config"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(recsys: Recsys, command: list[str], tmp_path: Path) -> None:
    shown = recsys(*command, "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "Usage: recsys" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 100
    assert not list(tmp_path.iterdir()), "asking for help leaves nothing behind"


MISTAKES = [
    (["import", "items", "nowhere.csv"], "nowhere.csv"),
    (["import", "items", "prose.csv"], "prose.csv"),
    (["import", "events", "items.csv"], "no column for item_id among id, title"),
    (["import", "events", "events.csv", "--type", "purchse"], "did you mean purchase?"),
    (["import", "items", "items.csv", "--map", "title"], "--map"),
    (["import", "items", "items.csv", "--map", "titel=name"], "title"),
    (["rebuild"], "the catalogue is empty"),
    (["evaluate"], "the catalogue is empty"),
    (["evaluate", "--protocol", "space"], "leave-one-out"),
    (["evaluate", "--split", "--protocol", "time", "a.txt", "b.txt"], "leave out --protocol"),
    (["evaluate", "--split", "a.txt"], "two or three files, TRAIN [VALID] TEST: found 1"),
    (["evaluate", "a.txt"], "without --split"),
    (["evaluate", "--split", "nowhere.txt", "prose.csv"], "nowhere.txt does not exist"),
    (["batch", "--out", "slates"], "run `recsys rebuild`"),
    (["batch", "--out", "slates", "--users", "nobody.txt"], "nobody.txt"),
    (["duplicates"], "run `recsys rebuild`"),
    (["snapshots", "verify"], "run `recsys rebuild`"),
    (["snapshots", "verify", "nothing"], "there is no snapshot 'nothing'"),
    (["snapshots", "rollback"], "run `recsys rebuild`"),
    (["snapshots", "prune"], "run `recsys rebuild`"),
    (["rules", "add", "nowhere.json"], "nowhere.json"),
    (["rules", "add", "prose.csv"], "prose.csv is not JSON"),
    (["rules", "add", "wrong.json"], "wrong.json, rule 2: by: a boost needs it"),
    (["rules", "remove", "7"], "there is no rule 7: `recsys rules list` shows"),
    (["serve", "--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
    (["serve", "--port", "99999"], "65535"),
    (["--config", "nowhere.toml", "config"], "nowhere.toml does not exist"),
    (["--config", "prose.csv", "config"], "not valid TOML"),
]


EXCLUDED = {"name": "Recall [1]", "action": "exclude", "items": ["1", "2"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated home without items, and some files."""
    folder = tmp_path_factory.mktemp("cli")
    engine = connect(Settings(home=folder / "data"))
    migrate(engine)
    engine.dispose()
    (folder / "items.csv").write_text("id,title\n1,One\n")
    (folder / "events.csv").write_text("user_id,item_id,time\nu,1,2024-01-01\n")
    (folder / "wrong.json").write_text(json.dumps([EXCLUDED, EXCLUDED | {"action": "boost"}]))
    (folder / "prose.csv").write_text("Dear reader,\nthis is a letter.\n")
    return folder


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_one_clear_message(
    recsys: Recsys, folder: Path, arguments: list[str], message: str
) -> None:
    failed = recsys(*arguments, cwd=folder)
    assert failed.returncode in {1, 2}
    assert message in " ".join(failed.stderr.split())
    assert "Traceback" not in failed.stderr
    assert not (folder / "slates").exists()


def test_the_key_of_administrators_is_not_printed_and_stars_do_not_become_one(
    recsys: Recsys, tmp_path: Path
) -> None:
    printed = recsys("config", RECSYS_SERVING__ADMIN_KEY="a secret").stdout
    assert "a secret" not in printed
    assert "admin_key is set, and not shown" in printed
    (tmp_path / "recsys.toml").write_text(printed)
    assert 'admin_key = ""' in recsys("config").stdout


def test_rules_are_added_listed_and_removed(
    recsys: Recsys, migrated_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from io import BytesIO, TextIOWrapper

    environment = {"RECSYS_DATABASE__URL": migrated_settings.database_url}
    assert "there are no rules" in recsys("rules", "list", **environment).stdout
    engine = connect(migrated_settings)
    with writing(engine) as connection:
        upsert_items(connection, [Item(id="1")], datetime.now(UTC))
    engine.dispose()
    added = recsys("rules", "add", str(_written(tmp_path, [EXCLUDED, EXCLUDED])), **environment)
    assert added.stdout.splitlines() == ["added rule 1: Recall [1]", "added rule 2: Recall [1]"]
    assert "rule 2: 1 of its 2 items are not in the catalogue: 2" in added.stderr
    boost = {"name": "Zoë", "action": "boost", "by": 2.5, "where": {"brands": ["Acme"]}}
    boost |= {"placements": ["new"], "ends_at": "2020-01-01T00:00:00Z"}
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(json.dumps(boost).encode())))
    assert "added rule 3" in recsys("rules", "add", "-", **environment).stdout
    assert "removed rule 1" in recsys("rules", "remove", "1", **environment).stdout
    lines = recsys("rules", "list", "--json", **environment).stdout.splitlines()
    second, third = map(json.loads, lines)
    assert (second["id"], second["state"], second["unknown"]) == (2, "in force", ["2"])
    assert third.items() >= (boost | {"id": 3, "state": "ended", "items": []}).items()
    table = recsys("rules", "list", COLUMNS="200", **environment).stdout
    assert re.search(r"2 +Recall \[1\] +exclude +1, 2 \(1 unknown\) +all +- +- +in force", table)
    assert re.search(r"boost 2.5 +brands \[\"Acme\"\] +new +- +2020-01-01 00:00 +ended", table)


def _written(folder: Path, rules: object) -> Path:
    file = folder / "rules.json"
    file.write_text(json.dumps(rules))
    return file


def test_a_port_in_use_is_said_so(recsys: Recsys, folder: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        failed = recsys("serve", "--port", port, cwd=folder)
    assert failed.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in failed.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://shop:s3cret@127.0.0.1:1/shop",
        "mysql://shop:s3cret@localhost/shop",
        "no url at all",
    ],
)
def test_a_database_that_does_not_answer_is_named_without_its_password(
    recsys: Recsys, tmp_path: Path, url: str
) -> None:
    failed = recsys("migrate", cwd=tmp_path, RECSYS_DATABASE__URL=url)
    assert failed.returncode == 1
    assert "database.url" in failed.stderr
    assert "s3cret" not in failed.stderr + failed.stdout
    assert "Traceback" not in failed.stderr


def test_the_settings_shown_can_be_read_back(recsys: Recsys, tmp_path: Path) -> None:
    (tmp_path / "recsys.toml").write_text("[ranking]\ndiversity = 0.25\n")
    shown = recsys("config", cwd=tmp_path, RECSYS_SERVING__PORT="1234")
    values = tomllib.loads(shown.stdout)
    assert values["ranking"]["diversity"] == 0.25
    assert values["serving"]["port"] == 1234
    (tmp_path / "recsys.toml").write_text(shown.stdout)
    assert recsys("config", cwd=tmp_path).stdout == shown.stdout
    assert len(re.findall(r"^# \S", shown.stdout, re.MULTILINE)) > 50, "each setting is explained"


def test_a_password_is_never_shown(recsys: Recsys, tmp_path: Path) -> None:
    url = "postgresql+psycopg://shop:s3cret@db.example.com/shop"
    shown = recsys("config", cwd=tmp_path, RECSYS_DATABASE__URL=url)
    assert shown.returncode == 0
    assert "s3cret" not in shown.stdout
    assert "db.example.com" in shown.stdout
