"""What a request says in its address -> checked values, in the time that pydantic takes for it.

FastAPI looks field by field for what an endpoint may want, which takes as long as making the whole slate; so the
routes that answer with one read their addresses themselves, and tell /openapi.json of it here.
"""

from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from typing import Any, TypeVar, get_origin, get_type_hints
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError

M = TypeVar("M", bound=BaseModel)


class Asking(APIRoute):
    """A route whose endpoint is handed the parts of its path and the request, and no more, unless it has a body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Called once, by FastAPI."""
        if self.body_field is not None:
            return super().get_route_handler()
        hints = get_type_hints(self.endpoint, include_extras=True)
        parts = {name: TypeAdapter(hints[name]) for name in self.param_convertors}

        async def handle(request: Request) -> Response:
            found: Response = await self.endpoint(request=request, **_checked(parts, request))
            return found

        return handle


def _checked(parts: Mapping[str, TypeAdapter[str]], request: Request) -> dict[str, str]:
    """The parts of the path. Raises RequestValidationError."""
    checked = {}
    for name, kind in parts.items():
        try:
            checked[name] = kind.validate_python(request.path_params[name])
        except ValidationError as error:
            raise _refused(error, "path", name) from None
    return checked


def _refused(error: ValidationError, *where: str) -> RequestValidationError:
    return RequestValidationError(
        [{**problem, "loc": (*where, *problem["loc"])} for problem in error.errors()]
    )


def asked(model: type[M], request: Request) -> M:
    """The query string as this model. Raises RequestValidationError."""
    repeated = _repeated(model)
    values: dict[str, Any] = {}
    sent = request.scope["query_string"].decode("latin-1")
    for name, value in parse_qsl(sent, keep_blank_values=True):
        if name in repeated:
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _refused(error, "query") from None


def in_query(model: type[BaseModel]) -> dict[str, Any]:
    """For /openapi.json: the parameters of a route that reads this model."""
    properties = model.model_json_schema()["properties"]
    return {"parameters": [_parameter(name, about) for name, about in properties.items()]}


def _parameter(name: str, about: dict[str, Any]) -> dict[str, Any]:
    schema = dict(about)
    description = schema.pop("description", None)
    said = {} if description is None else {"description": description}
    return {"name": name, "in": "query", "required": False, "schema": schema} | said


@cache
def _repeated(model: type[BaseModel]) -> frozenset[str]:
    """Fields that may be given several times."""
    fields = model.model_fields.items()
    return frozenset(name for name, field in fields if get_origin(field.annotation) is tuple)
