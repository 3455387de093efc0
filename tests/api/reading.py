"""Every URL of the API and of a tenant's pages, and what people read there. The tenant is `lab`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from django.test import Client
from django.urls import URLResolver, get_resolver

from tenants.models import User

ASKED = (
    "/api/v1/jobs/?name=hush", "/api/v1/usage/?group_by=job", "/api/v1/usage/?group_by=resource",
    "/api/v1/spend/?group_by=job", "/api/v1/spend/?group_by=resource", "/api/v1/audit/?limit=200",
    "/api/v1/audit/?target_id={job_id}", "/api/v1/audit/?target_id={dataset_id}", "/t/lab/jobs/?export=csv",
    "/t/lab/jobs/?q=hush", "/t/lab/jobs/{job_id}/?tab=logs", "/t/lab/jobs/{job_id}/?tab=events", "/t/lab/audit/?export=csv",
    "/t/lab/audit/?target={job_id}", "/t/lab/audit/?action=models_app", "/t/lab/jobs/new/?clone={job_id}",
    "/api/v1/spend/?group_by=tag:team", "/api/v1/usage/?group_by=tag:team,job", "/t/lab/spend/?group=tag:team",
    "/t/lab/spend/export/groups.csv?group=tag:team", "/t/lab/spend/export/daily.csv?group=tag:team",
    "/t/lab/jobs/new/batch/?version={version_id}", "/t/lab/endpoints/new/?version={version_id}",
)  # fmt: skip
ELSEWHERE = re.compile(r"/download/|/weights/|/result/|/verify/|^t/lab/sso/$")
"""Routes that need the object store or the fetcher, or read the whole chain."""


def paths(ids: dict[str, Any]) -> list[str]:
    """Return every URL of the API and of a tenant's pages, with these ids, and some query strings."""
    names = {
        "tenant": "lab",
        "n": 1,
        "form": "csv",
        "format": "csv",
        "number": 1,
        "slug": "spend",
        "kind": "dataset",
        **ids,
    }
    found = [fill(route, names) for route in routes("", get_resolver()) if route.startswith(("api/v1/", "t/<"))]
    return sorted({f"/{path}" for path in found if path and not ELSEWHERE.search(path)}) + [
        path.format(**ids) for path in ASKED
    ]


def routes(before: str, resolver: URLResolver) -> Iterator[str]:
    for one in resolver.url_patterns:
        if isinstance(one, URLResolver):
            yield from routes(f"{before}{one.pattern}", one)
        else:
            yield f"{before}{one.pattern}"


def fill(route: str, names: dict[str, Any]) -> str:
    """Return a route with its parameters filled in; empty if one has no value here."""
    wanted = re.findall(r"<(?:\w+:)?(\w+)>", route)
    if not set(wanted) <= set(names):
        return ""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: str(names[match[1]]), route)


def client_of(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def body_of(answer: Any) -> str:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return str(content.decode())


def read(person: User, ids: dict[str, Any], words: Collection[str]) -> dict[str, tuple[int, list[str]]]:
    """Return for every URL the status for a person, and which of the words it contained."""
    client = Client()
    client.force_login(person)
    found = {}
    for path in paths(ids):
        answer = client.get(path, headers={"X-Exchequer-Tenant": "lab"})
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        found[path] = answer.status_code, [word for word in words if word in content.decode("utf-8", "replace")]
    return found
