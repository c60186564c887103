"""Who may see the console: whoever signed in with `serving.admin_key`; where it is not set, whoever is on this machine.

A browser keeps no key, only until when it is let in, signed with the key: another key, or none, lets nobody in who
came with the old one.
"""

import time
from hashlib import sha256
from hmac import compare_digest, new

from starlette.requests import Request
from starlette.responses import Response

from recsys.serving.admin import from_this_machine, key_of, knows

COOKIE = "recsys_console"

FOLDER = "/console"

SECONDS = 12 * 3600
"""How long somebody who signed in stays so: a working day."""


def is_admitted(request: Request) -> bool:
    """Whether who asks may see the console."""
    key = key_of(request)
    if not key:
        return from_this_machine(request)
    until, _, signature = request.cookies.get(COOKIE, "").partition(".")
    if not compare_digest(signature.encode(), _signed(key, until).encode()):
        return False
    return until.isdecimal() and int(until) > time.time()


def sign_in(request: Request, response: Response, sent: str) -> bool:
    """Let the browser in that sent the key; gives whether it did."""
    key = key_of(request)
    if not key or not knows(request, sent.encode()):
        return False
    until = str(int(time.time()) + SECONDS)
    response.set_cookie(
        COOKIE,
        f"{until}.{_signed(key, until)}",
        SECONDS,
        path=FOLDER,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return True


def sign_out(response: Response) -> None:
    """Forget that this browser was let in."""
    response.delete_cookie(COOKIE, path=FOLDER, httponly=True, samesite="strict")


def _signed(key: str, until: str) -> str:
    return new(key.encode(), f"console {until}".encode(), sha256).hexdigest()
