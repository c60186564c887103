"""Signing in and out."""

from time import sleep

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from recsys.web.console.admission import FOLDER, is_admitted, sign_in, sign_out
from recsys.web.console.site import Console, field

PAUSE_SECONDS = 0.5
"""Before a wrong key is refused: who guesses is to take long."""


def show(console: Console, request: Request, _: FormData) -> Response:
    """The form; to the page that was asked for, where nobody has to sign in any more."""
    onward = _within(request.query_params.get("next", ""))
    if is_admitted(request):
        return RedirectResponse(onward, 303)
    return console.page(request, "sign_in.html", next=onward, wrong=False)


def enter(console: Console, request: Request, form: FormData) -> Response:
    """Let in who knows the key."""
    onward = _within(field(form, "next"))
    response: Response = RedirectResponse(onward, 303)
    if sign_in(request, response, field(form, "key")):
        return response
    sleep(PAUSE_SECONDS)
    return console.page(request, "sign_in.html", 401, next=onward, wrong=True)


def leave(_: Console, __: Request, ___: FormData) -> Response:
    """Forget that somebody was let in."""
    response = RedirectResponse(f"{FOLDER}/sign-in", 303)
    sign_out(response)
    return response


def _within(path: str) -> str:
    """The path, if it is of the console: nobody is sent elsewhere."""
    return path if path.startswith(f"{FOLDER}/") and "//" not in path else FOLDER
