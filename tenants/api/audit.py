"""REST endpoints of the audit log: list, verify, export with proof."""

import json
from collections.abc import Iterator
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.audit import queries
from tenants.audit.chain import plain
from tenants.audit.verify import verify
from tenants.identity import audited_access
from tenants.isolation.scoping import tenant_scope
from tenants.models import OUTCOMES
from tenants.parsing import parse_moment
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE, whole
from tenants.web.views import ApiView


class AuditSerializer(serializers.Serializer[Any]):
    """One entry of the audit log."""

    seq = serializers.IntegerField()
    occurred_at = serializers.DateTimeField()
    actor_type = serializers.CharField()
    actor_id = serializers.UUIDField(allow_null=True)
    actor_label = serializers.CharField()
    action = serializers.CharField()
    target_type = serializers.CharField()
    target_id = serializers.CharField()
    target_label = serializers.CharField()
    changes = serializers.DictField(help_text="Field to [old, new].")
    differences = serializers.ListField(
        child=serializers.CharField(), help_text="The changes in sentences, with names for ids."
    )
    reason = serializers.CharField()
    ip = serializers.CharField()
    request_id = serializers.CharField()
    on_behalf_of = serializers.UUIDField(allow_null=True, help_text="The person or service account whose key acted.")
    credential = serializers.CharField(help_text="The key or session: `key:ID`, `session:FINGERPRINT`.")
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    error_code = serializers.CharField(help_text="Why it was refused or failed.")
    hash = serializers.CharField()


class VerdictSerializer(serializers.Serializer[Any]):
    """Result of a verification of the chain."""

    ok = serializers.BooleanField()
    entries = serializers.IntegerField()
    head_seq = serializers.IntegerField()
    bad_seq = serializers.IntegerField(allow_null=True)
    fault = serializers.CharField(allow_blank=True)


AUDIT_FILTERS = [OpenApiParameter(name) for name in ("actor", "action", "target_type", "target_id", "since", "until")]


class Audit(ApiView):
    """The audit log."""

    permissions = {"GET": "audit.view"}

    @extend_schema(parameters=[*AUDIT_FILTERS, *PAGE], responses=page_of(AuditSerializer))
    def get(self, request: Request) -> Response:
        """List entries, newest first."""
        query = request.query_params
        since, until = (parse_moment(query[name], name) if query.get(name) else None for name in ("since", "until"))
        only = queries.EntryFilter(
            actor=query.get("actor", ""),
            action=query.get("action", ""),
            target_type=query.get("target_type", ""),
            target_id=query.get("target_id", ""),
            since=since,
            until=until,
        )
        rows = queries.entries(only, before_seq=self.before(whole), limit=self.page_size())
        return self.paginated(rows, AuditSerializer, lambda row: [row.seq])


class AuditVerify(ApiView):
    """Verification of the chain."""

    permissions = {"GET": "audit.view"}

    @extend_schema(responses=VerdictSerializer)
    def get(self, request: Request) -> Response:
        """Verify every entry and the head."""
        return Response(VerdictSerializer(verify()).data)


class AuditExport(ApiView):
    """The whole log with its proof."""

    permissions = {"GET": "audit.export"}
    own_transaction = True

    @extend_schema(responses={(200, "application/jsonl"): str})
    def get(self, request: Request) -> StreamingHttpResponse:
        """Stream one JSON object per line, in order."""
        actor = self.actor
        if request.method != "HEAD":
            with tenant_scope(actor.tenant_id):
                audited_access.export(actor=actor, name="audit.jsonl")

        def lines() -> Iterator[str]:
            with tenant_scope(actor.tenant_id):
                for entry in queries.export(actor):
                    yield (json.dumps(plain(entry), sort_keys=True, ensure_ascii=False) + "\n")

        return StreamingHttpResponse(
            lines(),
            content_type="application/jsonl",
            headers={"Content-Disposition": 'attachment; filename="audit.jsonl"'},
        )
