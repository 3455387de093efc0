"""The API's description of itself: authentication, pages of lists, and refusals."""

import re
from functools import cache
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.plumbing import build_bearer_security_scheme_object
from rest_framework import serializers

from tenants.web.problems import CONTENT_TYPE

METHODS = ("get", "post", "put", "patch", "delete")


class ActorScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """An API key as bearer token; a browser session works too, with the CSRF header."""

    target_class = "tenants.identity.authentication.ActorAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the bearer scheme."""
        scheme: dict[str, Any] = build_bearer_security_scheme_object(header_name="Authorization", token_prefix="Bearer")  # noqa: S106
        return scheme


@cache
def page_of(row: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """Return the serializer of a page: `results` and the URL of the next page, or null."""
    name = row.__name__.removesuffix("Serializer") + "PageSerializer"
    fields = {
        "__doc__": f"A page of a list: {row.__doc__}",
        "results": row(many=True),
        "next": serializers.URLField(allow_null=True),
    }
    return type(name, (serializers.Serializer,), fields)


PROBLEM = {
    "type": "object",
    "description": "Why a request was refused (RFC 9457). Some codes add members, such as `limit` of quota_exceeded.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string", "description": "What happened and what to do."},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable, for programs."},
        "request_id": {"type": "string"},
        "fields": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
            "description": "What is wrong, by the name of the field.",
        },
    },
    "required": ["type", "title", "status", "code", "request_id"],
}
WAIT = {"Retry-After": {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer"}}}
REFUSALS = {
    "400": "Something in the request is missing or wrong; `fields` names it.",
    "401": "The key or session is missing, expired or revoked.",
    "403": "The role or the key's scopes do not include this.",
    "404": "Not found. Objects of other organisations get the same answer.",
    "409": "It conflicts with stored data or with the current state, or the quota is used up.",
    "429": "Too many requests.",
    "503": "A part of Exchequer is temporarily unavailable; nothing was changed.",
}
#: For requests that change something.
WRITE_REFUSALS = {
    "402": "The budget has no headroom for it; nothing was stored.",
    "413": "The body is too large.",
    "415": "The media type of the body is not supported.",
}


def describe_refusals(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add to every API operation its refusals, unless it describes them itself. A hook of drf-spectacular."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    for path in result["paths"].values():
        for method, described in path.items():
            if method in METHODS:
                refusals = REFUSALS if method == "get" else {**REFUSALS, **WRITE_REFUSALS}
                for status, words in refusals.items():
                    described["responses"].setdefault(status, _refusal(words, wait=status in ("429", "503")))
                described["responses"] = dict(sorted(described["responses"].items()))
    return result


IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Any text. The same key with the same request returns the first answer and has no second effect. Kept for 30 days.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}


PAGING = (
    {"in": "query", "name": "cursor", "schema": {"type": "string"}, "description": "From `next` of the page before."},
    {
        "in": "query",
        "name": "limit",
        "schema": {"type": "integer", "minimum": 1, "maximum": 200},
        "description": "Rows of a page, 1 to 200.",
    },
)


def describe_paging(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add the paging parameters that `ApiView` reads for every list. A hook of drf-spectacular."""
    for path in result["paths"].values():
        content = path.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        shape = content.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
        fields = result["components"]["schemas"].get(shape, {}).get("properties", {})
        if {"results", "next"} <= fields.keys():
            given = path["get"].setdefault("parameters", [])
            given += [one for one in PAGING if one["name"] not in {known["name"] for known in given}]
    return result


def describe_bodies(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """State for each body that undescribed fields are refused. A hook of drf-spectacular."""
    shapes = result["components"]["schemas"]
    for path, _, method, view in generator._get_paths_and_endpoints():
        if getattr(view, "reads_any_field", False):
            continue
        body = result["paths"].get(path, {}).get(method.lower(), {}).get("requestBody", {})
        for content in body.get("content", {}).values():
            _close(content.get("schema", {}), shapes)
    return result


def _close(shape: dict[str, Any], shapes: dict[str, Any]) -> None:
    """Mark an object, and those within it, as complete."""
    shape = shapes.get(shape.get("$ref", "").rpartition("/")[2], shape)
    if "properties" in shape:
        shape["additionalProperties"] = False
        for inner in shape["properties"].values():
            _close(inner, shapes)
    for inner in (shape.get("items"), *shape.get("allOf", ()), *shape.get("oneOf", ())):
        if inner:
            _close(inner, shapes)


def describe_idempotency(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add the header that `idempotency.idempotent` honours to every POST. A hook of drf-spectacular."""
    for path in result["paths"].values():
        if "post" in path:
            path["post"].setdefault("parameters", []).append(IDEMPOTENCY_KEY)
    return result


def describe_operations(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Give every API operation a summary and its scope.

    A hook of drf-spectacular. The summary is the first sentence of the description.
    """
    for path, _, method, view in generator._get_paths_and_endpoints():
        described = result["paths"].get(path, {}).get(method.lower())
        if described is None:
            continue
        words = described.get("description", "")
        described["summary"] = re.split(r"(?<=[^.])[.;:](?:\s|$)", words.replace("\n", " "), maxsplit=1)[0]
        scope = getattr(view, "permissions", {}).get(method)
        if scope:
            described["description"] = f"{words}\n\nScope: `{scope}`."
            described["x-scope"] = scope
    return result


def describe_first_steps(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Begin the description with a quick start. A hook of drf-spectacular."""
    host = request.build_absolute_uri("/").rstrip("/") if request else settings.EXCHEQUER.effective_public_url
    result["info"]["description"] += "\n\n" + QUICK_START.replace("{host}", host)
    return result


#: The start of the API's page: each line runs as shown, once the key is in the first.
QUICK_START = """## Quick start

Make a key on the page *API keys* of your organisation, for reading, launching jobs and uploading datasets. Put it into the first line, then
paste the rest into a shell with `curl` and `python3`. Each operation below names the scope that its key needs.

```sh
export HOST={host} KEY=exq_...
api() { curl -sS -H "Authorization: Bearer $KEY" "$@"; }
id_of() { python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])'; }

# Who am I, and what may this key do?
api $HOST/api/v1/me/

# Upload a table (here one of 569 rows to try), and wait until it is read
curl -sSO $HOST/static/samples/breast_cancer.csv
DATASET=$(api -F name=breast-cancer -F target=diagnosis -F file=@breast_cancer.csv $HOST/api/v1/datasets/ | id_of)
until api $HOST/api/v1/datasets/$DATASET/ | grep -Eq '"state": ?"(ready|failed)"'; do sleep 1; done

# Train on it, paid by the project `default`; the key makes a repeated request the same request
JOB=$(api -H "Content-Type: application/json" -H "Idempotency-Key: train-$DATASET" \\
  -d '{"name": "breast-cancer", "kind": "train", "device_class": "cpu", "recipe": "tabular.classifier", "dataset": "'$DATASET'"}' \\
  $HOST/api/v1/jobs/ | id_of)
until api $HOST/api/v1/jobs/$JOB/ | grep -Eq '"state": ?"(succeeded|failed|cancelled)"'; do sleep 1; done

# What it cost, and the model version that it made
api $HOST/api/v1/jobs/$JOB/
```

Lists answer `results` and `next`, the address of the next page. Times are in UTC, money is a text with its currency. What is refused
answers `application/problem+json` with a stable `code`. Send an `Idempotency-Key` with every POST that you may repeat.
"""


def _refusal(words: str, *, wait: bool) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": words, "content": content, **({"headers": WAIT} if wait else {})}
