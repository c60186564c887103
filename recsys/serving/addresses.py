"""Ids in addresses. An id may hold any character, so it is percent-encoded, and decoded once, here.

The router sees the path as it was sent: in `/v1/items/a%2Fsimilar` the id is `a/similar`, while
`/v1/items/a/similar` asks for what is similar to `a`. A slash that stands for itself works wherever it
leaves no doubt.
"""

from typing import Annotated
from urllib.parse import quote, unquote_to_bytes

from fastapi import Path
from pydantic import BeforeValidator
from starlette.types import ASGIApp, Receive, Scope, Send

from recsys.catalogue.fields import Id


class AsSent:
    """Routes by the path as it was sent, its percent-encoding untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its path as sent."""
        if scope["type"] == "http":
            sent = scope.get("raw_path") or quote(scope["path"]).encode()
            scope["path"] = sent.decode("latin-1")
        await self._app(scope, receive, send)


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
