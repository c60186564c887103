"""Image locations made from item ids: `posters/{item_id}.jpg`, also inside a tar file."""

import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from recsys.errors import FeedError, InputError

Locate = Callable[[str], str | None]
"""Item id -> image location, or None where there is no such image."""


def is_address(location: str) -> bool:
    """Whether it is to be fetched, and is no path."""
    return "://" in location


def no_images(_item_id: str) -> None:
    """The locator of a feed without images."""


def image_locator(template: str, root: Path) -> Locate:
    """Fill `{item_id}` into the template and keep what exists under `root`.

    A path may go through a tar file: `posters.tar/posters/{item_id}.jpg`. Raises FeedError if that
    file cannot be read, InputError without `{item_id}`.
    """
    if "{item_id}" not in template:
        raise InputError(
            f"--image {template}: it must hold {{item_id}}, e.g. posters/{{item_id}}.jpg"
        )
    parts = PurePosixPath(template).parts
    inside = next((n for n, part in enumerate(parts, 1) if part.endswith(".tar")), None)
    if inside is None:
        return _in_folder(template, root)
    archive = root.joinpath(*parts[:inside])
    return _in_archive(template, "/".join(parts[inside:]), _members(archive))


def _in_folder(template: str, root: Path) -> Locate:
    def locate(item_id: str) -> str | None:
        location = template.replace("{item_id}", item_id)
        try:
            return location if (root / location).is_file() else None
        except OSError:  # no file system can hold such a name
            return None

    return locate


def _in_archive(template: str, member: str, members: frozenset[str]) -> Locate:
    def locate(item_id: str) -> str | None:
        if member.replace("{item_id}", item_id) not in members:
            return None
        return template.replace("{item_id}", item_id)

    return locate


def _members(archive: Path) -> frozenset[str]:
    try:
        with tarfile.open(archive) as tar:
            return frozenset(tar.getnames())
    except (OSError, tarfile.TarError) as error:
        raise FeedError(f"the image archive {archive} cannot be read: {error}") from None
