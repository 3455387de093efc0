"""Liveness and readiness: alive if the process responds, ready if the database does and is migrated."""

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse


@login_not_required
def healthz(request: HttpRequest) -> JsonResponse:
    """Return 200 while this process serves."""
    return JsonResponse({"status": "alive"})


@login_not_required
def readyz(request: HttpRequest) -> JsonResponse:
    """Return 200 if the database can be read, else 503."""
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
