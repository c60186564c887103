"""What a request says in its address -> checked values, in the time that pydantic takes for it.

FastAPI looks field by field for what an endpoint may want, which takes a good part of the time of a slate; so the
routes that answer with one read their addresses themselves, and tell /openapi.json of it here.
"""

from functools import cache, cached_property, lru_cache
from typing import Any, TypeVar, cast, get_origin, get_type_hints
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.types import Receive, Scope, Send

REMEMBERED = 256
"""Query strings, the latest ones: a page asks the same for each of its viewers."""

M = TypeVar("M", bound=BaseModel)


class Asking(APIRoute):
    """A route whose endpoint is handed the parts of its path and the request, and no more, unless it has a body."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  FastAPI's own
        super().__init__(*args, **kwargs)
        wanted = self.dependant
        others = (wanted.query_params, wanted.header_params, wanted.cookie_params)
        if self.by_address and any((wanted.dependencies, *others)):
            raise TypeError(f"{self.path}: an endpoint of a GET is handed its path and no more")

    @property
    def by_address(self) -> bool:
        """Whether the address is all that a request says."""
        return self.methods == {"GET"}

    def takes(self, scope: Scope) -> bool:
        """Whether a request is for this route; if so, the scope is told, as the router would."""
        found = scope["method"] in (self.methods or ()) and self.path_regex.match(scope["path"])
        if found:
            scope["route"], scope["path_params"] = self, found.groupdict()
        return bool(found)

    @cached_property
    def _parts(self) -> dict[str, TypeAdapter[str]]:
        hints = get_type_hints(self.endpoint, include_extras=True)
        return {name: TypeAdapter(hints[name]) for name in self.param_convertors}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What is raised here, the app answers for."""
        if not self.by_address or scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        request = Request(scope, receive, send)
        response = await self.endpoint(request=request, **self._checked(request))
        await response(scope, receive, send)

    def _checked(self, request: Request) -> dict[str, str]:
        """The parts of the path. Raises RequestValidationError."""
        checked = {}
        for name, kind in self._parts.items():
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
    return cast(M, _understood(model, request.scope["query_string"]))


@lru_cache(maxsize=REMEMBERED)
def _understood(model: type[BaseModel], sent: bytes) -> BaseModel:
    repeated = _repeated(model)
    values: dict[str, Any] = {}
    for name, value in parse_qsl(sent.decode("latin-1"), keep_blank_values=True):
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
