"""Bytes from wherever a location leads."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from photos import file_of, noise

from recsys.embedding import pictures as module
from recsys.embedding.pictures import Fetched, Pictures
from recsys.errors import ContentError

PHOTO = file_of(noise(), "PNG")


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path, Fetched(tmp_path / "fetched"))


def test_a_path_starts_at_the_root_unless_it_is_absolute(
    tmp_path: Path, pictures: Pictures
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(PHOTO)
    assert pictures.read("in/a.png") == PHOTO
    elsewhere = Pictures(Path("/elsewhere"), pictures.fetched)
    assert elsewhere.read(str(tmp_path / "in" / "a.png")) == PHOTO


def test_a_path_may_go_through_a_tar(tmp_path: Path, pictures: Pictures) -> None:
    with tarfile.open(tmp_path / "posters.tar", "w") as tar:
        for name in ("posters/1.png", "posters/2.png"):
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            tar.addfile(entry, io.BytesIO(name.encode()))
    assert pictures.read("posters.tar/posters/2.png") == b"posters/2.png"
    with pytest.raises(ContentError, match=r"posters\.tar holds no file posters/3\.png"):
        pictures.read("posters.tar/posters/3.png")


def test_a_tar_that_is_none_is_reported(tmp_path: Path, pictures: Pictures) -> None:
    (tmp_path / "broken.tar").write_bytes(b"not a tar at all" * 100)
    with pytest.raises(ContentError, match=r"broken\.tar/1\.png cannot be read"):
        pictures.read("broken.tar/1.png")


def test_what_is_not_a_file_is_reported_and_never_waited_for(
    tmp_path: Path, pictures: Pictures
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for location in ("gone.png", ".", "pipe.png", "/dev/zero", "a\0b.png", "x" * 5_000):
        with pytest.raises(ContentError, match=r"is not a file|cannot be read"):
            pictures.read(location)


def test_what_was_not_fetched_says_so(pictures: Pictures) -> None:
    with pytest.raises(ContentError, match="has not been fetched"):
        pictures.read("https://shop.example/a.png")


def test_a_file_too_large_to_read_is_told(
    tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    (tmp_path / "a.png").write_bytes(PHOTO)
    with pytest.raises(ContentError, match="bytes: expected at most 10"):
        pictures.read("a.png")


def test_the_same_photo_at_two_addresses_is_kept_once(tmp_path: Path, pictures: Pictures) -> None:
    for address in ("https://a.example/1.png", "https://b.example/2.png"):
        with pictures.fetched.draft() as draft:
            draft.write(PHOTO)
            pictures.fetched.keep(address, draft)
        assert address in pictures.fetched and pictures.read(address) == PHOTO
    contents = [path for path in (tmp_path / "fetched" / "contents").rglob("*") if path.is_file()]
    assert len(contents) == 1 and not list((tmp_path / "fetched").glob("*.part"))


def test_what_was_lost_is_fetched_again(tmp_path: Path, pictures: Pictures) -> None:
    with pictures.fetched.draft() as draft:
        draft.write(PHOTO)
        pictures.fetched.keep("https://a.example/1.png", draft)
    [content] = [each for each in (tmp_path / "fetched" / "contents").rglob("*") if each.is_file()]
    content.unlink()
    assert "https://a.example/1.png" not in pictures.fetched
    with pytest.raises(ContentError, match="cannot be read"):
        pictures.read("https://a.example/1.png")


def test_a_draft_that_is_not_kept_leaves_nothing(tmp_path: Path, pictures: Pictures) -> None:
    with pytest.raises(KeyboardInterrupt), pictures.fetched.draft() as draft:
        draft.write(PHOTO)
        raise KeyboardInterrupt
    assert not list((tmp_path / "fetched").rglob("*.part"))


def test_a_damaged_note_is_as_good_as_none(tmp_path: Path, pictures: Pictures) -> None:
    pictures.fetched.miss("https://a.example/1.png", "gone")
    [note] = (tmp_path / "fetched").rglob("*.json")
    for said in (b"", b"[1, 2]", b"\xff", b'"word"', b'{"content": 5}'):
        note.write_bytes(said)
        assert "https://a.example/1.png" not in pictures.fetched
        with pytest.raises(ContentError, match="has not been fetched"):
            pictures.read("https://a.example/1.png")
