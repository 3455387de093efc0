"""Liveness and readiness: alive when the process answers, ready when the database does and is migrated."""

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse


@login_not_required
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 while this process serves."""
    return JsonResponse({"status": "alive"})


@login_not_required
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when the database can be read, else 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM tenants_tenant LIMIT 0")
    except DatabaseError:
        return JsonResponse(
            {"status": "not ready", "database": "away"},
            status=503,
            headers={"Retry-After": "5"},
        )
    return JsonResponse({"status": "ready"})
