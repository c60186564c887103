"""The body of a search: JSON, or a form (multipart) that brings a picture as a file.

picture   the file
ask       all else that a search may say, as JSON; may be left out
"""

import json
from base64 import b64encode
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.datastructures import UploadFile

from recsys.serving.examples import SEARCH
from recsys.serving.schemas import SearchBody

FORM = "multipart/form-data"

DOCUMENTED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/SearchBody"},
                "examples": SEARCH,
            },
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["picture"],
                    "properties": {
                        "picture": {
                            "type": "string",
                            "contentMediaType": "application/octet-stream",
                            "description": "The file of a picture or a video.",
                        },
                        "ask": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "description": "A SearchBody without `picture`.",
                        },
                    },
                }
            },
        },
    }
}
"""For /openapi.json."""

SCHEMAS: dict[str, Any] = models_json_schema(
    [(SearchBody, "validation")], ref_template="#/components/schemas/{model}"
)[1]["$defs"]
"""For /openapi.json: what FastAPI cannot see there, since it does not read this body."""

_BODY = TypeAdapter(SearchBody)


async def search_asked(request: Request) -> SearchBody:
    """What is searched for. Raises RequestValidationError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    said = await _form(request) if kind == FORM else await _json(request, kind)
    try:
        return _BODY.validate_python(said, from_attributes=True)
    except ValidationError as error:
        raise RequestValidationError(
            [{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()]
        ) from None


async def _json(request: Request, kind: str) -> object:
    body = await request.body()
    return _read(body) if kind.endswith("json") else body


async def _form(request: Request) -> dict[str, Any]:
    if "charset" in request.headers.get("content-type", "").lower():
        raise _refused("body", "is a form with a charset: leave it out, for all text is UTF-8")
    async with request.form(max_files=1, max_fields=1) as form:
        for name in form:
            if name not in {"picture", "ask"}:
                raise _refused(name, "is not known here: a form has `picture`, a file, and `ask`")
        picture, ask = form.get("picture"), form.get("ask", "{}")
        if not isinstance(picture, UploadFile):
            raise _refused("picture", "should be a file")
        said = _read(ask.encode() if isinstance(ask, str) else await ask.read())
        if not isinstance(said, dict) or "picture" in said:
            raise _refused("ask", "should be a JSON object without `picture`")
        return said | {"picture": b64encode(await picture.read()).decode()}


def _read(body: bytes) -> object:
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        about = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "JSON decode error"}
        raise RequestValidationError([about | {"input": {}, "ctx": {"error": error.msg}}]) from None
    except (ValueError, RecursionError) as error:
        raise _refused("body", f"is not JSON that can be read: {error}") from None


def _refused(name: str, message: str) -> RequestValidationError:
    return RequestValidationError(
        [{"type": "value_error", "loc": ("body", name), "msg": message, "input": None}]
    )
