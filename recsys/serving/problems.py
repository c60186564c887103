"""What went wrong, in the one shape of every error body; `serving.app` says which status it gets."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ParamSpec

from fastapi.exceptions import RequestValidationError

from recsys.catalogue.events import check_time, check_type
from recsys.config import EventSettings
from recsys.errors import InputError
from recsys.serving.schemas import ErrorReply, EventIn, InlineEvent

P = ParamSpec("P")

Place = tuple[str | int, ...]


def documented(status: int, description: str) -> dict[int | str, dict[str, Any]]:
    """An error for /openapi.json."""
    return {status: {"model": ErrorReply, "description": description}}


PLAINLY = {
    "missing": "is required",
    "extra_forbidden": "is not known here: take it out, or check its spelling",
    "model_attributes_type": "should be a JSON object",
}
"""pydantic's kind of problem -> what to say instead of its own words."""

INVALID = documented(422, "The request is malformed or contradicts itself")
UNKNOWN_ITEM = documented(404, "The item is unknown, or not in the snapshot yet")
UNKNOWN_RULE = documented(404, "There is no such rule")
CURSOR_GONE = documented(410, "The cursor's snapshot is not kept any more: begin again")
BUSY = documented(503, "Too many writes at once, or another process is writing: try again")
NO_SNAPSHOT = documented(503, "Nothing is published yet, or the database does not answer")


def check_events(
    events: Sequence[EventIn | InlineEvent], place: Place, settings: EventSettings
) -> None:
    """Raises RequestValidationError naming each event of an unknown type, or of the future."""
    now = datetime.now(UTC)
    found: list[tuple[Place, str]] = []
    for n, event in enumerate(events):
        if what := _complaint(check_type, event.type, settings):
            found.append(((*place, n, "type"), what))
        if what := _complaint(check_time, event.time, now):
            found.append(((*place, n, "time"), what.removeprefix("time: ")))
    if found:
        raise RequestValidationError(
            [{"type": "value_error", "loc": at, "msg": what, "input": None} for at, what in found]
        )


def error_body(
    kind: str, message: str, fields: Sequence[dict[str, str]] = (), reference: str | None = None
) -> dict[str, Any]:
    """The body of an error."""
    error: dict[str, Any] = {"type": kind, "message": message}
    if fields:
        error["fields"] = list(fields)
    if reference is not None:
        error["id"] = reference
    return {"error": error}


def explained(problems: Iterable[Any], content_type: str) -> tuple[str, list[dict[str, str]]]:
    """What pydantic found: one message, and the fields one by one."""
    fields = [
        {
            "field": _place(problem["loc"], problem["type"]),
            "message": _message(problem, content_type),
        }
        for problem in problems
    ]
    first = "; ".join(f"{f['field']}: {f['message']}".removeprefix(": ") for f in fields[:3])
    more = f"; and {len(fields) - 3} more" if len(fields) > 3 else ""
    return first + more, fields


def _complaint(check: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> str | None:
    """What a check of the catalogue has against a value."""
    try:
        check(*args, **kwargs)
    except InputError as error:
        return str(error)
    return None


def _place(location: Place, kind: str) -> str:
    """`("body", "boosts", 0, "by")` -> `boosts[0].by`; the body as a whole is `body`."""
    if kind == "json_invalid":
        return "body"
    inner = location[1:] if len(location) > 1 else location
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inner)
    return text.removeprefix(".")


def _message(problem: Mapping[str, Any], content_type: str) -> str:
    kind, found = problem["type"], problem["input"]
    if kind in {"model_attributes_type", "list_type"} and isinstance(found, bytes):
        return f"should be JSON, with Content-Type: application/json (found {content_type!r})"
    if kind == "json_invalid":
        return f"is not valid JSON at character {problem['loc'][-1]}: {problem['ctx']['error']}"
    if kind == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    said = PLAINLY.get(kind) or problem["msg"].replace("Input should", "should")
    return said if kind in {"missing", "extra_forbidden"} else f"{said} (found {_short(found)})"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
