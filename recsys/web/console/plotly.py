"""Plotly, from its Python package: served once compressed, and kept by browsers for good."""

import gzip
import re
from functools import cached_property
from hashlib import blake2b

from plotly.offline import get_plotlyjs
from starlette.requests import Request
from starlette.responses import Response

from recsys.web.site import FOREVER

STYLES = re.compile(r'getElementById\("([0-9a-f]{64})"\)')
"""Style elements that it would put into the page unless an element with the name is there: the policy forbids it."""

PATH = "/console/plotly"


class Plotly:
    """The script."""

    @cached_property
    def _text(self) -> str:
        return str(get_plotlyjs())

    @cached_property
    def _packed(self) -> bytes:
        return gzip.compress(self._text.encode(), 6, mtime=0)

    @cached_property
    def version(self) -> str:
        """Of the script."""
        return blake2b(self._text.encode(), digest_size=8).hexdigest()

    @cached_property
    def styles(self) -> list[str]:
        """Names of elements that keep it from putting styles into the page. None of them is of a plot we draw."""
        return STYLES.findall(self._text)

    @property
    def address(self) -> str:
        """Where it is served."""
        return f"{PATH}/{self.version}.js"

    def sent(self, request: Request) -> Response:
        """The script, whichever version a page asks for."""
        headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
        kind = "text/javascript; charset=utf-8"
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(self._packed, headers=headers, media_type=kind)
        return Response(self._text.encode(), headers=headers, media_type=kind)
