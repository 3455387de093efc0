"""REST endpoints of the audit log: list, verify, export with proof."""

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.access.reader import reading_as
from tenants.audit import queries
from tenants.audit.checkpoints import public_keys
from tenants.audit.verify import verify_part
from tenants.audit.words import OPERATIONS
from tenants.errors import Invalid
from tenants.models import OUTCOMES
from tenants.parsing import parse_choice, parse_moment
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE, jsonl_stream, whole
from tenants.web.views import ApiView


class AuditSerializer(serializers.Serializer[Any]):
    """One entry of the audit log."""

    seq = serializers.IntegerField()
    occurred_at = serializers.DateTimeField()
    actor_type = serializers.CharField()
    actor_id = serializers.UUIDField(allow_null=True)
    actor_label = serializers.CharField()
    action = serializers.CharField()
    operation = serializers.ChoiceField(choices=OPERATIONS, help_text="What the action is to its object.")
    target_type = serializers.CharField()
    target_id = serializers.CharField()
    target_label = serializers.CharField()
    changes = serializers.DictField(help_text="Field to [old, new].")
    differences = serializers.ListField(
        child=serializers.CharField(), help_text="The changes in sentences, with names for ids."
    )
    reason = serializers.CharField()
    ip = serializers.CharField()
    user_agent = serializers.CharField(help_text="The program of the request, as it named itself.")
    request_id = serializers.CharField()
    on_behalf_of = serializers.UUIDField(allow_null=True, help_text="The person or service account whose key acted.")
    credential = serializers.CharField(help_text="The key or session: `key:ID`, `session:FINGERPRINT`.")
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    error_code = serializers.CharField(help_text="Why it was refused or failed.")
    hash = serializers.CharField()


class VerdictSerializer(serializers.Serializer[Any]):
    """Result of a verification of a part of the chain."""

    ok = serializers.BooleanField(help_text="Whether this part has no fault.")
    first_seq = serializers.IntegerField(help_text="The first entry of this part.")
    entries = serializers.IntegerField(help_text="The last entry of this part that is valid.")
    head_seq = serializers.IntegerField(help_text="The last entry of the log.")
    next_seq = serializers.IntegerField(
        allow_null=True, help_text="Where the next part begins (`from`); null at the end of the log, and after a fault."
    )
    bad_seq = serializers.IntegerField(allow_null=True)
    fault = serializers.CharField(allow_blank=True)


class PublicKeySerializer(serializers.Serializer[Any]):
    """A key that signs checkpoints of the log."""

    id = serializers.CharField(help_text="The `key_id` of checkpoints.")
    public_key = serializers.CharField(help_text="Ed25519, 32 bytes in base64: `--public-key` of the verifier.")
    created_at = serializers.DateTimeField()


NAMED = ("actor", "action", "target_type", "target_id", "since", "until")
AUDIT_FILTERS = [
    *(OpenApiParameter(name) for name in NAMED),
    OpenApiParameter("outcome", enum=OUTCOMES),
    OpenApiParameter(
        "acts", enum=tuple(queries.ACTS), description="Whose acts: `reads` are downloads, exports and reads of secrets."
    ),
]


VERIFIED_FROM = OpenApiParameter("from", int, description="Number of the first entry; 1 unless given.")


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
            outcome=parse_choice(query.get("outcome", ""), "outcome", OUTCOMES),
            acts=parse_choice(query.get("acts", ""), "acts", queries.ACTS),
            since=since,
            until=until,
        )
        rows = queries.entries(only, before_seq=self.before(whole), limit=self.page_size())
        return self.paginated(rows, AuditSerializer, lambda row: [row.seq])


class AuditVerify(ApiView):
    """Verification of the chain."""

    permissions = {"GET": "audit.view"}

    @extend_schema(parameters=[VERIFIED_FROM], responses=VerdictSerializer)
    def get(self, request: Request) -> Response:
        """Verify up to 10,000 entries, and the head after the last. The log is valid if every part of it is."""
        part = verify_part(_number(request, "from") or 1)
        facts = {name: getattr(part.check, name) for name in ("ok", "entries", "bad_seq", "fault")}
        facts |= {name: getattr(part, name) for name in ("first_seq", "head_seq", "next_seq")}
        return Response(VerdictSerializer(facts).data)


class AuditKeys(ApiView):
    """The keys that sign checkpoints."""

    permissions = {"GET": "audit.view"}

    @extend_schema(responses=PublicKeySerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the public keys. Keep a copy elsewhere: an administrator who rewrote the log could also answer this request."""
        return Response(PublicKeySerializer(public_keys(), many=True).data)


def _number(request: Request, name: str) -> int | None:
    """Return the number of an entry from the query, None if it is not given. Raises Invalid."""
    text = request.query_params.get(name, "")
    try:
        return whole(text) if text else None
    except ValueError:
        raise Invalid(fields={name: ["Use the number of an entry."]}) from None


RANGED = ("from", "to")
RANGE = [OpenApiParameter(name, int, description="Number of an entry, included.") for name in RANGED]


class AuditExport(ApiView):
    """The whole log with its proof."""

    permissions = {"GET": "audit.export"}
    own_transaction = True

    @extend_schema(parameters=RANGE, responses={(200, "application/jsonl"): str})
    def get(self, request: Request) -> StreamingHttpResponse:
        """Stream one JSON object per line, in order: entries, and signed checkpoints after theirs."""
        first, last = (_number(request, name) for name in RANGED)
        with reading_as(self.actor):
            return jsonl_stream(request._request, "audit", queries.export_lines_of(self.actor, first or 1, last))
