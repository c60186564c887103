"""What a request says in its query string -> a checked model, in the time that pydantic takes for it.

FastAPI reads the fields of a model one by one, which takes as long as making the whole slate; so the routes that
answer with one read the query string themselves, and tell /openapi.json of it here.
"""

from functools import cache
from typing import Any, TypeVar, get_origin
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


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
        problems = error.errors()
        raise RequestValidationError(
            [{**problem, "loc": ("query", *problem["loc"])} for problem in problems]
        ) from None


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
