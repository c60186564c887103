"""Ids in addresses. An id may hold any character, so it is percent-encoded, and decoded once, here.

The router sees the path as it was sent: in `/v1/items/a%2Fsimilar` the id is `a/similar`, while
`/v1/items/a/similar` asks for what is similar to `a`. A slash that stands for itself works wherever it
leaves no doubt.
"""

from typing import Annotated
from urllib.parse import quote, unquote_to_bytes

from fastapi import Path
from pydantic import BeforeValidator
from starlette.types import Scope

from recsys.catalogue.fields import Id


def as_sent(scope: Scope) -> str:
    """The path of a request, its percent-encoding untouched."""
    sent = scope.get("raw_path")
    return quote(scope["path"]) if sent is None else str(sent, "latin-1")


def _decoded(sent: str) -> str:
    try:
        return unquote_to_bytes(sent.encode("latin-1")).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 once its percent-encoding is undone") from None


ItemPath = Annotated[
    Id,
    BeforeValidator(_decoded),
    Path(description="The item's id, percent-encoded.", examples=["296"]),
]

UserPath = Annotated[
    Id,
    BeforeValidator(_decoded),
    Path(description="The user's id, percent-encoded.", examples=["42"]),
]
