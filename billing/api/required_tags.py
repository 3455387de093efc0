"""REST endpoint of the tags that every launch must carry."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.allocation.required_tags import Required, required_tags, set_required_tags
from tenants.web.body_fields import checked
from tenants.web.views import ApiView


class RequiredTagSerializer(serializers.Serializer[Any]):
    """A tag and its allowed values; an empty list allows any."""

    name = serializers.CharField(max_length=40)
    values = serializers.ListField(child=serializers.CharField(max_length=120), required=False, default=list)


class RequiredTagsSerializer(serializers.Serializer[Any]):
    """The required tags; `tags` is the complete list."""

    tags = RequiredTagSerializer(many=True)


class RequiredTags(ApiView):
    """The tags that every launch must carry."""

    permissions = {"GET": "jobs.view", "PUT": "invoices.manage"}

    @extend_schema(operation_id="required_tags_retrieve", responses=RequiredTagsSerializer)
    def get(self, request: Request) -> Response:
        """Return the required tags."""
        return self._answer()

    @extend_schema(request=RequiredTagsSerializer, responses=RequiredTagsSerializer)
    def put(self, request: Request) -> Response:
        """Replace the list. A launch without one of these tags, or with another value, is refused with 400."""
        body = checked(RequiredTagsSerializer(data=request.data))
        tags = [Required(one["name"], tuple(one["values"])) for one in body["tags"]]
        set_required_tags(actor=self.actor, tags=tags)
        return self._answer()

    def _answer(self) -> Response:
        return Response(RequiredTagsSerializer({"tags": required_tags()}).data)
