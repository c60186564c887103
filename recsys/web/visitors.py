"""Who is looking: a user that was chosen, or a newcomer whom only a random session tells from others."""

import re
from dataclasses import dataclass
from secrets import token_hex
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from recsys.serving.addresses import UserPath

SESSION, USER = "recsys_session", "recsys_user"
"""Cookies. They end with the browser's session, and no script can read them."""

MADE_HERE = re.compile(r"[0-9a-f]{32}")

LONGEST = 3_000
"""Characters of a user's id as a cookie holds it: browsers drop longer ones."""

_USER = TypeAdapter[str](UserPath)


@dataclass(frozen=True)
class Visitor:
    """Somebody in front of a browser."""

    session_id: str
    user_id: str | None = None
    """Whose eyes the shop is seen with; None: a newcomer."""

    @property
    def who(self) -> tuple[str | None, str | None]:
        """As histories know them."""
        return self.user_id, self.session_id


def visitor(request: Request) -> Visitor:
    """By the cookies; a newcomer where they say nothing that can be used."""
    session_id = request.cookies.get(SESSION, "")
    if not MADE_HERE.fullmatch(session_id):
        session_id = token_hex(16)
    try:
        return Visitor(session_id, _USER.validate_python(request.cookies.get(USER, "")))
    except ValidationError:
        return Visitor(session_id)


def newcomer(user_id: str = "") -> Visitor:
    """Somebody whose session nobody has seen; as this user, if one is named."""
    named = user_id.strip()
    fits = 0 < len(quote(named, safe="")) <= LONGEST
    return Visitor(token_hex(16), named if fits else None)


def remember(who: Visitor, request: Request, response: Response) -> None:
    """Let the browser say next time who it is."""
    secure = request.url.scheme == "https"
    if request.cookies.get(SESSION) != who.session_id:
        response.set_cookie(SESSION, who.session_id, secure=secure, httponly=True, samesite="lax")
    said = "" if who.user_id is None else quote(who.user_id, safe="")
    if said and request.cookies.get(USER) != said:
        response.set_cookie(USER, said, secure=secure, httponly=True, samesite="lax")
    if not said and USER in request.cookies:
        response.delete_cookie(USER, secure=secure, httponly=True, samesite="lax")
