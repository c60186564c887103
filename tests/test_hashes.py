"""A file is hashed anew when it may have changed, and only then."""

import os
from hashlib import sha256
from pathlib import Path

import pytest

from recsys import hashes
from recsys.hashes import Hashes


@pytest.fixture
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the machine says which start this is."""
    (path := tmp_path / "boot_id").write_text("first\n")
    monkeypatch.setattr(hashes, "BOOT", path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Hashed and remembered."""
    (path := tmp_path / "rows.npy").write_bytes(b"one")
    first = Hashes(tmp_path / ".hashes")
    assert first.of(path) == sha256(b"one").hexdigest()
    first.remember()
    return path


def read_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether another process would hash it."""
    monkeypatch.setattr(hashes, "sha256", lambda _: "anew")
    return Hashes(path.parent / ".hashes").of(path) == "anew"


def test_what_was_hashed_is_not_hashed_again(boot: Path, file: Path, monkeypatch) -> None:
    assert not read_anew(file, monkeypatch)


def test_under_another_name_it_is_the_same_file(boot: Path, file: Path, monkeypatch) -> None:
    (link := file.with_name("link.npy")).hardlink_to(file)
    assert not read_anew(link, monkeypatch)


def test_what_was_written_to_is_hashed_again(boot: Path, file: Path, monkeypatch) -> None:
    at = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(at.st_atime_ns, at.st_mtime_ns + 1))
    assert read_anew(file, monkeypatch)


def test_a_copy_is_hashed_even_with_the_same_time(boot: Path, file: Path, monkeypatch) -> None:
    at = file.stat()
    (copy := file.with_name("copy.npy")).write_bytes(b"two")
    os.utime(copy, ns=(at.st_atime_ns, at.st_mtime_ns))
    copy.replace(file)
    assert read_anew(file, monkeypatch)


def test_after_a_start_of_the_machine_all_is_hashed_again(
    boot: Path, file: Path, monkeypatch
) -> None:
    boot.write_text("second\n")
    assert read_anew(file, monkeypatch)


def test_without_a_way_to_tell_nothing_is_remembered(boot: Path, file: Path, monkeypatch) -> None:
    boot.unlink()
    assert read_anew(file, monkeypatch)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"boot": "first", "files": [[1]]}'])
def test_a_damaged_record_costs_only_time(boot: Path, file: Path, content: str, monkeypatch):
    file.with_name(".hashes").write_text(content)
    assert read_anew(file, monkeypatch)
