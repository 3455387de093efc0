"""REST endpoints to deploy and undeploy models and to manage endpoint keys."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from compute.jobs.request_body import project_of
from models_app.endpoints import deployments, endpoint_keys, endpoints
from tenants.access.standing import TakesAway
from tenants.errors import Invalid
from tenants.parsing import parse_uuid
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView

STATE = OpenApiParameter("state", str, many=True, description="deploying, ready, failed, stopped or undeployed")


class DeploymentSerializer(serializers.Serializer[Any]):
    """What to deploy. If an endpoint of this name is live, it is rolled over to the version."""

    name = serializers.CharField(max_length=63, help_text="Small letters, digits and dashes")
    version = serializers.UUIDField(help_text="Id of a model version in production")
    project = serializers.CharField(required=False, help_text="Id or slug of who pays; the version's unless given")
    slo_ms = serializers.IntegerField(
        required=False, min_value=10, max_value=60_000, help_text="Longest wait before new requests are refused"
    )
    tags = serializers.DictField(
        child=serializers.CharField(),
        required=False,
        help_text="Of its usage and slot time; they stay as long as the endpoint. Required ones must be there",
    )
    replace = serializers.BooleanField(
        required=False,
        help_text="Move a live endpoint of this name to a version that takes other input columns; refused unless true",
    )


class EndpointSerializer(serializers.Serializer[Any]):
    """A name that serves one model version."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    state = serializers.CharField(help_text="deploying, ready, failed, stopped or undeployed")
    message = serializers.CharField(help_text="Why it does not answer")
    cause = serializers.CharField(
        help_text="Why it is stopped: budget, suspended (its organisation), refused (to be deployed again); empty otherwise"
    )
    answers = serializers.BooleanField(help_text="It has a slot, and its node is ready")
    model_id = serializers.UUIDField()
    model = serializers.CharField()
    version_id = serializers.UUIDField()
    version = serializers.IntegerField()
    recipe = serializers.CharField()
    project_id = serializers.UUIDField()
    project = serializers.CharField()
    slo_ms = serializers.IntegerField()
    tags = serializers.DictField(child=serializers.CharField())
    generation = serializers.IntegerField(help_text="Grows with each deployment")
    keys = serializers.IntegerField(help_text="How many keys may call it")
    cost = MoneySerializer(help_text="What its requests, and its time on a slot, have cost so far")
    predict_path = serializers.CharField(help_text="On the serving node's own port")
    infer_path = serializers.CharField(help_text="Open Inference Protocol, on the serving node's own port")
    node = serializers.CharField(help_text="Which node holds its slot; empty while it waits for one")
    created_by_label = serializers.CharField()
    created_at = serializers.DateTimeField()
    deployed_at = serializers.DateTimeField()
    undeployed_at = serializers.DateTimeField(allow_null=True)


class NewEndpointKeySerializer(serializers.Serializer[Any]):
    """The key to create."""

    name = serializers.CharField(max_length=120)
    requests_per_minute = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=endpoint_keys.MOST_A_MINUTE
    )


class EndpointKeySerializer(NewEndpointKeySerializer):
    """A key of an endpoint; `key`, the secret, is returned only when it is created."""

    id = serializers.UUIDField()
    prefix = serializers.CharField(help_text="How the key begins")
    created_by_label = serializers.CharField()
    created_at = serializers.DateTimeField()
    revoked_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True, help_text="With the API key that made it")
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To the minute")


class EndpointKeySecretSerializer(serializers.Serializer[Any]):
    """A newly created key."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    requests_per_minute = serializers.IntegerField(allow_null=True)
    key = serializers.CharField(allow_null=True, help_text="Shown once; null in the answer to a repeated request")


class Endpoints(ApiView):
    """Endpoints of the tenant."""

    permissions = {"GET": "endpoints.view", "POST": "endpoints.manage"}

    @extend_schema(operation_id="endpoints_list", parameters=[STATE, *PAGE], responses=page_of(EndpointSerializer))
    def get(self, request: Request) -> Response:
        """List endpoints, newest first."""
        rows = endpoints.endpoint_list(
            self.actor,
            states=request.query_params.getlist("state"),
            before=self.before(UUID),
            limit=self.page_size(),
        )
        return self.paginated(rows, EndpointSerializer, lambda row: [row.id])

    @extend_schema(request=DeploymentSerializer, responses={201: EndpointSerializer})
    def post(self, request: Request) -> Response:
        """Deploy a version that is in production; a live endpoint of this name is rolled over to it.

        If the live version takes other input columns, the response is 409 `signature_differs` and `columns` lists the
        differences, unless `replace` is true.
        """
        body = self.body()
        faults: dict[str, list[str]] = {}
        name, slo_ms = body.get("name", ""), body.get("slo_ms")
        if not isinstance(name, str):
            faults["name"] = ["Give a text."]
        if slo_ms is not None and (isinstance(slo_ms, bool) or not isinstance(slo_ms, int)):
            faults["slo_ms"] = ["Give a whole number of milliseconds."]
        if not isinstance(body.get("replace", False), bool):
            faults["replace"] = ["Give true or false."]
        tags = body.get("tags")
        if tags is not None and not (isinstance(tags, dict) and all(isinstance(one, str) for one in tags.values())):
            faults["tags"] = ['Give an object of texts, such as {"team": "vision"}.']
        if faults:
            raise Invalid(fields=faults)
        endpoint = deployments.deploy(
            actor=self.actor,
            name=name,
            version_id=parse_uuid(body.get("version"), "version"),
            project_id=None if body.get("project") is None else project_of(body["project"]),
            slo_ms=slo_ms,
            tags=tags,
            replace=body.get("replace", False),
        )
        return Response(EndpointSerializer(endpoints.endpoint_detail(self.actor, endpoint.id)).data, status=201)


class OneEndpoint(ApiView):
    """Show or undeploy one endpoint."""

    permissions = {"GET": "endpoints.view", "DELETE": "endpoints.manage"}

    @extend_schema(operation_id="endpoints_retrieve", responses=EndpointSerializer)
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """Return one endpoint."""
        return Response(EndpointSerializer(endpoints.endpoint_detail(self.actor, endpoint_id)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, endpoint_id: UUID) -> Response:
        """Undeploy the endpoint: it stops serving, its keys are revoked, and its slot is freed."""
        deployments.undeploy(actor=self.actor, endpoint_id=endpoint_id)
        return Response(status=204)


class EndpointKeys(ApiView):
    """Keys that call one endpoint."""

    permissions = {"GET": "endpoints.view", "POST": "endpoints.manage"}
    shown_once = frozenset({"key"})

    @extend_schema(operation_id="endpoint_keys_list", responses=page_of(EndpointKeySerializer))
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """List the valid keys without their secrets, newest first."""
        return self.whole(endpoints.endpoint_keys(self.actor, endpoint_id), EndpointKeySerializer)

    @extend_schema(request=NewEndpointKeySerializer, responses={201: EndpointKeySecretSerializer})
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Create a key. Only this response contains its secret."""
        body = self.body()
        limit = body.get("requests_per_minute")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
            raise Invalid(fields={"requests_per_minute": ["Give a whole number, or leave it empty for no limit."]})
        if not isinstance(body.get("name"), str):
            raise Invalid(fields={"name": ["Give a text."]})
        key = endpoint_keys.create(
            actor=self.actor, endpoint_id=endpoint_id, name=body["name"], requests_per_minute=limit
        )
        answer = {"id": key.id, "name": body["name"].strip(), "requests_per_minute": limit, "key": key.secret}
        return Response(EndpointKeySecretSerializer(answer).data, status=201)


class OneEndpointKey(ApiView):
    """One key of an endpoint."""

    permissions = {"DELETE": TakesAway("endpoints.manage")}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, endpoint_id: UUID, endpoint_key_id: UUID) -> Response:
        """Revoke the key, effective with the next batch of requests."""
        endpoint_keys.revoke(actor=self.actor, endpoint_id=endpoint_id, key_id=endpoint_key_id)
        return Response(status=204)
