"""What each role reads: the fields that the document names, which is checked in, and no other (T8)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from tenants.access.permissions import ROLES
from tests.api.objects import one_of_everything
from tests.api.test_matrix import API, client_for, path_of
from tests.support import factories

pytestmark = pytest.mark.django_db

#: Words of what is stored and never read, and the one field that has them and is none.
SECRETS = re.compile("secret|password|token|private|sealed|wrapped|key_hash")
READ = {"has_secret"}
#: Fields that the document names in words: those of a kind of job, and what usage is summed by.
OF_KINDS = ("dataset", "dataset_version", "left_out", "metrics", "model", "model_version", "params", "recipe", "target")
IN_WORDS = {("usage/", ".results[].meter"), *(("jobs/<uuid:job_id>/", f".{name}") for name in OF_KINDS)}


def schemas() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parts of the served document, and the schema of the answer of each GET route as the table names it."""
    document = Client().get("/api/schema/?format=json").json()
    found = {}
    for path, methods in document["paths"].items():
        answer = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json")
        if answer:
            found[path.removeprefix("/api/v1/")] = answer["schema"]
    return document["components"]["schemas"], found


def named(parts: dict[str, Any], schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the fields that a schema names, and whether others may stand beside them."""
    schema = parts[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    fields, free = dict(schema.get("properties", {})), bool(schema.get("additionalProperties"))
    for one in [part for word in ("allOf", "anyOf", "oneOf") for part in schema.get(word, [])]:
        more, also = named(parts, one)
        fields, free = fields | more, free or also
    return fields, free or not fields


def beyond(parts: dict[str, Any], schema: dict[str, Any], value: Any, at: str = "") -> Iterator[str]:
    """Yield the fields of an answer that its schema does not name."""
    if isinstance(value, dict):
        fields, free = named(parts, schema)
        for name, inner in value.items():
            if name in fields:
                yield from beyond(parts, fields[name], inner, f"{at}.{name}")
            elif not free:
                yield f"{at}.{name}"
    if isinstance(value, list):
        items = parts[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        for one in value:
            yield from beyond(parts, items.get("items", {}), one, f"{at}[]")


def names(value: Any) -> Iterator[str]:
    """Yield the name of each field of an answer, at any depth."""
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from names(inner)


def test_each_role_reads_the_fields_of_the_document_and_no_secret() -> None:
    tenant = factories.make_tenant("ours")
    ids, (parts, answers) = one_of_everything(tenant), schemas()
    faults, read = set(), set()
    for role in ROLES:
        client = client_for(tenant, role)
        for route, methods in API.items():
            schema = answers.get(re.sub(r"<\w+:(\w+)>", r"{\1}", route))
            if schema is None or role not in methods.get("GET", ()):
                continue
            answer = client.get(path_of("/api/v1/", route, ids))
            if answer.status_code != 200:
                continue
            read.add(route)
            faults |= {(route, field) for field in beyond(parts, schema, answer.json())}
            faults |= {(route, name) for name in names(answer.json()) if SECRETS.search(name) and name not in READ}
    assert faults - IN_WORDS == set()
    assert len(read) > 60
