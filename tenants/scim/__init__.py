"""SCIM 2.0 (RFC 7643, 7644): a tenant's identity provider makes, changes and ends memberships, and fills groups."""

from django.urls import URLPattern, re_path

from tenants.scim.discovery import ResourceTypes, Schemas, ServiceProviderConfig
from tenants.scim.endpoints import Group, Groups, User, Users
from tenants.scim.views import Nothing

__all__ = ["urlpatterns"]

ID = r"(?P<resource_id>[^/]{1,64})"

urlpatterns: list[URLPattern] = [
    re_path(r"^Users/?$", Users.as_view(), name="scim-users"),
    re_path(rf"^Users/{ID}/?$", User.as_view(), name="scim-user"),
    re_path(r"^Groups/?$", Groups.as_view(), name="scim-groups"),
    re_path(rf"^Groups/{ID}/?$", Group.as_view(), name="scim-group"),
    re_path(r"^ServiceProviderConfig/?$", ServiceProviderConfig.as_view(), name="scim-config"),
    re_path(r"^ResourceTypes/?$", ResourceTypes.as_view(), name="scim-resource-types"),
    re_path(r"^Schemas/?$", Schemas.as_view(), name="scim-schemas"),
    re_path(r"", Nothing.as_view(), name="scim-nothing"),
]
