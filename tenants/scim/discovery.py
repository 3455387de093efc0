"""What SCIM here can do, as providers read it before they begin (RFC 7643, 5 to 7)."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from tenants.scim import attributes, filters, shapes
from tenants.scim.views import ScimView

CONFIG = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
RESOURCE_TYPE = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Schema"


def _attribute(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "multiValued": False,
        "required": False,
        "caseExact": False,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": "none",
        **more,
    }


USER_ATTRIBUTES = [
    _attribute("userName", required=True, uniqueness="server"),
    _attribute("displayName"),
    _attribute("active", "boolean"),
    _attribute(
        "name", "complex", subAttributes=[_attribute("givenName"), _attribute("familyName"), _attribute("formatted")]
    ),
    _attribute(
        "emails",
        "complex",
        multiValued=True,
        subAttributes=[_attribute("value"), _attribute("type"), _attribute("primary", "boolean")],
    ),
]
GROUP_ATTRIBUTES = [
    _attribute("displayName", required=True, uniqueness="server"),
    _attribute(
        "members",
        "complex",
        multiValued=True,
        subAttributes=[_attribute("value", mutability="immutable"), _attribute("display", mutability="readOnly")],
    ),
]


class ServiceProviderConfig(ScimView):
    """What is supported."""

    def get(self, request: Request) -> Response:
        """Return it."""
        no = {"supported": False}
        return Response(
            {
                "schemas": [CONFIG],
                "patch": {"supported": True},
                "bulk": {**no, "maxOperations": 0, "maxPayloadSize": 0},
                "filter": {"supported": True, "maxResults": filters.MOST},
                "changePassword": no,
                "sort": no,
                "etag": no,
                "authenticationSchemes": [
                    {
                        "type": "oauthbearertoken",
                        "name": "Bearer token",
                        "description": "A SCIM token of the organisation's identity provider.",
                    }
                ],
                "meta": {"resourceType": "ServiceProviderConfig", "location": f"{shapes.base()}/ServiceProviderConfig"},
            }
        )


class ResourceTypes(ScimView):
    """The kinds of resources."""

    def get(self, request: Request) -> Response:
        """List them."""
        found = [
            {
                "schemas": [RESOURCE_TYPE],
                "id": name,
                "name": name,
                "endpoint": f"/{name}s",
                "schema": schema,
                "meta": {"resourceType": "ResourceType", "location": f"{shapes.base()}/ResourceTypes/{name}"},
            }
            for name, schema in (("User", attributes.USER), ("Group", attributes.GROUP))
        ]
        return Response(shapes.listed(len(found), filters.Page(1, len(found)), found))


class Schemas(ScimView):
    """The attributes that are kept."""

    def get(self, request: Request) -> Response:
        """List them."""
        found = [
            {
                "schemas": [SCHEMA],
                "id": schema,
                "name": name,
                "attributes": attributes,
                "meta": {"resourceType": "Schema", "location": f"{shapes.base()}/Schemas/{schema}"},
            }
            for name, schema, attributes in (
                ("User", attributes.USER, USER_ATTRIBUTES),
                ("Group", attributes.GROUP, GROUP_ATTRIBUTES),
            )
        ]
        return Response(shapes.listed(len(found), filters.Page(1, len(found)), found))
