"""The built wheel is whole: installed where there is no checkout, it runs."""

import os
import sqlite3
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel built from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (only,) = dist.glob("*.whl")
    return only


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with this wheel and the libraries, without the checkout.

    A path file adds a folder to the search path without obeying the path files inside it; so the
    libraries are seen, and the editable install beside them is not.
    """
    venv = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site_packages,) = venv.glob("lib/python*/site-packages")
    (site_packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install"]
    options = ["-qq", "--disable-pip-version-check", "--no-index", "--no-deps", "--force-reinstall"]
    subprocess.run([*pip, *options, str(wheel)], check=True)
    return venv / "bin"


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "somewhere else"
    folder.mkdir()
    return folder


def call(program: Path, *arguments: str, cwd: Path) -> str:
    """Run with nothing of this project in the environment; return what was printed."""
    foreign = ("RECSYS_", "PYTHON", "COV_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    done = subprocess.run(
        [program, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_and_its_migrations_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert tops == {"recsys", "recsys-0.1.0.dist-info"}
    assert {"recsys/py.typed", "recsys/_alembic/env.py"} <= names
    assert any(name.startswith("recsys/_alembic/versions/") for name in names)
    assert "recsys-0.1.0.dist-info/licenses/LICENSE" in names
    assert not [name for name in names if name.endswith((".db", ".npy", ".pyc"))]


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = [path for path in (ROOT / "recsys").rglob("*") if path.is_file()]
    files = {
        path.relative_to(ROOT).as_posix() for path in package if "__pycache__" not in path.parts
    }
    assert files - names == set()


def test_the_sdist_holds_no_tests_and_no_data(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {"recsys", "alembic", "pyproject.toml", "LICENSE", "CHANGELOG.md"} <= tops
    assert not tops & {"tests", "data", "scripts"}


def test_what_is_imported_is_the_installed_copy(installed: Path, empty: Path) -> None:
    where = call(installed / "python", "-c", "import recsys; print(recsys.__file__)", cwd=empty)
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_the_installed_command_explains_itself(installed: Path, empty: Path) -> None:
    page = call(installed / "recsys", "--help", cwd=empty)
    for command in ("import", "rebuild", "evaluate", "batch", "serve", "snapshots"):
        assert command in page


def test_the_installed_command_prints_the_default_settings(installed: Path, empty: Path) -> None:
    printed = call(installed / "recsys", "config", cwd=empty)
    assert "[ranking]" in printed
    assert "max_limit = 500" in printed


def test_the_installed_command_makes_a_database(installed: Path, empty: Path) -> None:
    call(installed / "recsys", "migrate", cwd=empty)
    with sqlite3.connect(empty / "data" / "recsys.db") as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    database.close()
    assert {"items", "events", "alembic_version"} <= tables


def test_the_installed_command_goes_from_files_to_recommendations(
    installed: Path, empty: Path
) -> None:
    (empty / "items.csv").write_text("item_id,title\na,Red spade\nb,Blue spade\nc,Whisk\n")
    (empty / "events.csv").write_text(
        "user_id,item_id,type,time\nann,a,purchase,2025-01-01\nbob,c,purchase,2025-01-02\n"
    )
    recsys = installed / "recsys"
    call(recsys, "migrate", cwd=empty)
    call(recsys, "import", "items", "items.csv", cwd=empty)
    call(recsys, "import", "events", "events.csv", cwd=empty)
    call(recsys, "rebuild", cwd=empty)
    call(recsys, "snapshots", "verify", cwd=empty)
    call(recsys, "batch", "--out", "slates", "--limit", "1", cwd=empty)
    slates = [
        row for file in empty.glob("slates/*.parquet") for row in pq.read_table(file).to_pylist()
    ]
    assert {row["user_id"]: row["item_id"] for row in slates}["ann"] == "b"
