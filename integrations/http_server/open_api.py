"""The service as an OpenAPI document, made from the schemas of its operations."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from hoptrail.integrations.http_server.server_limits import ServerLimits
from hoptrail.integrations.operations.operation import Operation

COMPONENT = "#/components/schemas/{model}"
FAILURES = {
    "400": "The body is no JSON object.",
    "401": "The token is missing or unknown.",
    "403": "The token does not open this namespace, or is for reading only.",
    "404": "There is no such passage, or no such recall.",
    "408": "The body took too long to arrive.",
    "409": "The id is taken.",
    "413": "The body is too large.",
    "421": "The Host is not one of this server's.",
    "422": "The arguments cannot be used.",
    "429": "Too many calls: Retry-After says how many seconds to wait.",
    "503": "The memory cannot do this now: Retry-After, where there is one, says when to try.",
    "504": "It takes longer than a call may.",
}
"""What else than the result may come back."""
NAMESPACE = {
    "type": "array",
    "items": {"type": "string", "minLength": 1},
    "description": "Where, at or below the namespace that the token opens, which it is if this is "
    "left out.",
}
"""What every operation takes beside its own arguments."""


def open_api(
    operations: Sequence[Operation], limits: ServerLimits, *, secured: bool
) -> dict[str, Any]:
    """The document, by OpenAPI 3.1.

    Args:
        operations: That are served.
        limits: Of the service.
        secured: Whether callers need a token.
    """
    schemas: dict[str, Any] = {
        "Failure": {
            "type": "object",
            "properties": {"error": {"type": "string", "description": "One sentence."}},
            "required": ["error"],
        }
    }
    paths: dict[str, Any] = {}
    for one in operations:
        result = one.result.model_json_schema(ref_template=COMPONENT)
        schemas.update(result.pop("$defs", {}))
        schemas[one.result.__name__] = result
        paths[f"/v1/{one.name}"] = {"post": _call(one)}
    paths["/health/live"] = {"get": _plain("Whether the process answers.", "application/json")}
    paths["/health/ready"] = {"get": _plain("Whether the memory can be read.", "application/json")}
    paths["/metrics"] = {"get": _plain("Counts, for Prometheus.", "text/plain")}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "hoptrail memory",
            "version": version("hoptrail"),
            "description": "A long-term memory of passages. A token opens one namespace. A request "
            f"has at most {limits.body_bytes:,} bytes, and is answered within "
            f"{limits.call_seconds:g} seconds; each token may make {limits.calls_per_minute} calls "
            "a minute.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if secured:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for one in operations:
            paths[f"/v1/{one.name}"]["post"]["security"] = [{"token": []}]
        paths["/metrics"]["get"]["security"] = [{"token": []}]
    return document


def _call(operation: Operation) -> dict[str, Any]:
    arguments = operation.input_schema()
    arguments["properties"] = {**arguments["properties"], "namespace": NAMESPACE}
    result = {"$ref": COMPONENT.format(model=operation.result.__name__)}
    failure = {"application/json": {"schema": {"$ref": COMPONENT.format(model="Failure")}}}
    return {
        "operationId": operation.name,
        "summary": operation.title,
        "description": operation.description,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": arguments}},
        },
        "responses": {
            "200": {
                "description": "The result.",
                "content": {"application/json": {"schema": result}},
            },
            **{
                status: {"description": sentence, "content": failure}
                for status, sentence in FAILURES.items()
            },
        },
    }


def _plain(sentence: str, media_type: str) -> dict[str, Any]:
    return {
        "summary": sentence,
        "responses": {"200": {"description": "It is so.", "content": {media_type: {}}}},
    }
