"""The OpenAPI 3.1 description of a gateway's routes, made from their interfaces."""

from collections.abc import Mapping, Sequence
from inspect import cleandoc
from typing import Any, Final

import msgspec

from liferaft.http.problems import CONTENT_TYPE, TITLES, Problem
from liferaft.http.route import Route, item_type

LINES: Final = "application/x-ndjson"
TIMEOUT_HEADER: Final = "Liferaft-Timeout"
_STATUSES: Final = (400, 403, 404, 405, 409, 413, 415, 422, 500, 502, 503, 504)
_REF: Final = "#/components/schemas/{name}"


def describe(
    routes: Sequence[Route], *, title: str, version: str, root_path: str
) -> dict[str, Any]:
    """Return the document."""
    types: list[Any] = [Problem]
    for route in routes:
        types += [_body_type(route), _result_type(route)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    problem, *rest = schemas
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": {
            route.path: {"post": _operation(route, rest[2 * n], rest[2 * n + 1])}
            for n, route in enumerate(routes)
        },
        "components": {
            "schemas": components,
            "responses": {str(status): _problem(status, problem) for status in _STATUSES},
        },
    }
    if root_path:
        document["servers"] = [{"url": root_path}]
    return document


def _body_type(route: Route) -> Any:
    if not route.takes_lines:
        return route.arguments_type
    (place,) = route.method.argument_items
    parameter = list(route.method.signature.parameters.values())[place - 1]
    return item_type(parameter.annotation)


def _result_type(route: Route) -> Any:
    result = route.method.signature.return_annotation
    return item_type(result) if route.is_streaming else result


def _operation(route: Route, body: Any, result: Any) -> dict[str, Any]:
    method = route.method
    text = cleandoc(method.function.__doc__ or "")
    summary, _, description = text.partition("\n")
    kind = LINES if route.is_streaming else "application/json"
    operation: dict[str, Any] = {
        "operationId": f"{route.object_name}.{method.name}",
        "tags": [route.object_name],
        "parameters": [_TIMEOUT],
        "responses": {
            "200": {"description": _what_comes(route), "content": {kind: {"schema": result}}},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _STATUSES},
        },
    }
    if route.takes_lines:
        note = "One item on each line."
        operation["requestBody"] = {"description": note, "content": {LINES: {"schema": body}}}
    elif method.signature.parameters:
        parameters = method.signature.parameters.values()
        operation["requestBody"] = {
            "required": any(each.default is each.empty for each in parameters),
            "content": {"application/json": {"schema": body}},
        }
    if summary:
        operation["summary"] = summary
    if description.strip():
        operation["description"] = description.strip()
    return operation


def _what_comes(route: Route) -> str:
    if route.is_streaming:
        return "The items, one on each line, as they come."
    return "What the method returned."


_TIMEOUT: Final[Mapping[str, Any]] = {
    "name": TIMEOUT_HEADER,
    "in": "header",
    "description": "How many seconds the call may take.",
    "required": False,
    "schema": {"type": "number", "minimum": 1e-3, "maximum": 1e6},
}


def _problem(status: int, schema: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": TITLES[status],
        "content": {CONTENT_TYPE: {"schema": schema}},
    }
    if status == 503:
        seconds = {"schema": {"type": "integer"}, "description": "Seconds."}
        answer["headers"] = {"Retry-After": seconds}
    if status == 405:
        answer["headers"] = {"Allow": {"schema": {"type": "string"}}}
    return answer
