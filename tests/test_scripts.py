"""The commands that people are told to type: the scripts run, the README's lines exist."""

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from recsys.cli import app

ROOT = Path(__file__).resolve().parent.parent
FENCED = re.compile(r"^```(?:bash|sh|console|shell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"(?<![\w/.])(\.ci/run|scripts/[\w./-]+)")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
SUBCOMMAND = re.compile(
    r"(?:^|[\s/;&|(])recsys((?: (?:--?[\w=-]+|[a-z][a-z_]*(?=\s|$)))+)", re.MULTILINE
)


def shell_scripts() -> list[Path]:
    files = [*ROOT.glob("scripts/*"), *ROOT.glob("scripts/bench/*"), ROOT / ".ci" / "run"]
    return sorted(path for path in files if path.is_file() and path.read_bytes()[:2] == b"#!")


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def commands_in_the_readme() -> str:
    return "\n".join(FENCED.findall(readme()))


def run(
    *command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def test_every_script_is_executable_and_parses() -> None:
    scripts = shell_scripts()
    names = {path.name for path in scripts}
    assert {"setup", "demo", "test", "check", "lint", "run"} <= names
    for path in scripts:
        assert os.access(path, os.X_OK), f"{path} is not executable"
        if b"bash" in path.read_bytes().splitlines()[0]:
            parsed = run("bash", "-n", path)
            assert parsed.returncode == 0, parsed.stderr


def test_every_script_named_in_the_readme_exists() -> None:
    named = set(SCRIPT.findall(readme()))
    assert {"scripts/demo", "scripts/test"} <= named
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_every_link_in_the_readme_leads_somewhere() -> None:
    links = {link for link in LINK.findall(readme()) if "://" not in link}
    assert {link for link in links if not (ROOT / link).exists()} == set()


def test_every_subcommand_named_in_the_readme_is_one_of_the_command_line() -> None:
    known = set(subcommands(get_command(app)))
    named = {words_of(call) for call in SUBCOMMAND.findall(commands_in_the_readme())}
    assert named - known - {()} == set()


def subcommands(command: Any, *above: str) -> Iterator[tuple[str, ...]]:
    for name, child in getattr(command, "commands", {}).items():
        yield (*above, name)
        yield from subcommands(child, *above, name)


def words_of(call: str) -> tuple[str, ...]:
    """The subcommand and, below `import` and `snapshots`, its own: what follows are arguments."""
    words = [word for word in call.split() if not word.startswith("-")]
    return tuple(words[: 2 if words[:1] in (["import"], ["snapshots"]) else 1])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What scripts/setup reads, in a path with spaces, as if setup had run there before."""
    folder = tmp_path / "a folder with spaces"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "setup", folder / "scripts" / "setup")
    for name in ("constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "made-in").write_text(f"{folder}\n")
    recipe = (folder / "constraints.txt").read_bytes() + (folder / "pyproject.toml").read_bytes()
    (folder / ".venv" / "made-with-demo").write_bytes(recipe)
    return folder


@pytest.fixture
def no_python(tmp_path: Path) -> dict[str, str]:
    """An environment where the PATH leads to the shell's own tools and to no Python."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "cat", "cmp", "dirname"):
        (tools / name).symlink_to(str(shutil.which(name)))
    return {"PATH": str(tools)}


def test_setup_does_nothing_when_nothing_changed(checkout: Path, no_python: dict[str, str]) -> None:
    again = run("scripts/setup", "demo", cwd=checkout, env=no_python)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


@pytest.mark.parametrize("changed", ["constraints.txt", "pyproject.toml"])
def test_setup_installs_again_when_a_version_changed(
    checkout: Path, no_python: dict[str, str], changed: str
) -> None:
    with (checkout / changed).open("a") as file:
        file.write("# changed\n")
    again = run("scripts/setup", "demo", cwd=checkout, env=no_python)
    assert "installing recsys[demo]" in again.stdout


def test_setup_installs_an_extra_that_is_not_there_yet(
    checkout: Path, no_python: dict[str, str]
) -> None:
    again = run("scripts/setup", "demo", "test", cwd=checkout, env=no_python)
    assert "installing recsys[test]" in again.stdout


def test_an_environment_that_was_moved_is_made_anew(
    checkout: Path, no_python: dict[str, str]
) -> None:
    moved = checkout.rename(checkout.parent / "elsewhere")
    again = run("scripts/setup", "demo", cwd=moved, env=no_python)
    assert again.returncode == 1
    assert "no Python 3.11" in again.stderr


def test_setup_without_a_python_says_what_is_needed(
    checkout: Path, no_python: dict[str, str]
) -> None:
    shutil.rmtree(checkout / ".venv")
    first = run("scripts/setup", cwd=checkout, env=no_python)
    assert first.returncode == 1
    assert "python3.11-venv" in first.stderr


def test_demo_refuses_an_option_it_does_not_know() -> None:
    answer = run(ROOT / "scripts" / "demo", "--no-server")
    assert answer.returncode == 2
    assert "usage: scripts/demo [--catalogue DIR] [--no-serve]" in answer.stderr


@pytest.fixture(scope="module")
def movielens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo data") / "movielens"
    assert write_movielens(folder).returncode == 0
    return folder


def write_movielens(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, ROOT / "scripts" / "movielens.py", folder)


def test_the_demo_writes_all_of_movielens(movielens: Path) -> None:
    with (movielens / "movies.csv").open(newline="") as file:
        movies = {row["movieId"]: row for row in csv.DictReader(file)}
    with (movielens / "ratings.csv").open(newline="") as file:
        ratings = list(csv.DictReader(file))
    assert (len(movies), len(ratings)) == (9_066, 100_004)
    assert movies["6"]["title"] == "Heat (1995)"
    assert movies["6"]["genres"] == "Action|Crime|Thriller"
    assert ratings[0] == {
        "userId": "1",
        "movieId": "31",
        "rating": "2.5",
        "timestamp": "1260759144",
    }


def test_the_demo_does_not_write_movielens_twice(movielens: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in movielens.iterdir()}
    assert "already" in write_movielens(movielens).stdout
    assert {path: path.stat().st_mtime_ns for path in movielens.iterdir()} == before


def test_the_same_made_up_shop_is_made_twice(tmp_path: Path) -> None:
    for name in ("one", "other"):
        made = run(
            sys.executable, "scripts/gallery.py", tmp_path / name, "--prints", "8", "--people", "5"
        )
        assert made.returncode == 0, made.stderr
    one, other = tmp_path / "one", tmp_path / "other"
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(files) == 2 + 8
    assert all((one / path).read_bytes() == (other / path).read_bytes() for path in files)
    with (one / "items.csv").open(encoding="utf-8") as file:
        items = {row["id"]: row["categories"] for row in csv.DictReader(file)}
    assert len(set(items.values())) == 8, "a print of each style"
    with (one / "events.csv").open(encoding="utf-8") as file:
        assert {row["item_id"] for row in csv.DictReader(file)} <= set(items)
