"""Pages of rights: who may do what and why, roles, groups, service accounts."""

from django.urls import URLPattern, path

from tenants.views.access.groups import create_group, delete_group, group, group_join, group_leave, groups
from tenants.views.access.overview import access, give, withdraw
from tenants.views.access.roles import change_role, create_role, delete_role, roles
from tenants.views.access.service_accounts import create_account, disable_account, service_accounts

__all__ = ["urlpatterns"]

urlpatterns: list[URLPattern] = [
    path("access/", access, name="access"),
    path("access/grants/new/", give, name="grant-give"),
    path("access/grants/<uuid:grant_id>/withdraw/", withdraw, name="grant-withdraw"),
    path("access/roles/", roles, name="roles"),
    path("access/roles/new/", create_role, name="role-create"),
    path("access/roles/<uuid:role_id>/", change_role, name="role-change"),
    path("access/roles/<uuid:role_id>/delete/", delete_role, name="role-delete"),
    path("access/groups/", groups, name="groups"),
    path("access/groups/new/", create_group, name="group-create"),
    path("access/groups/<uuid:group_id>/", group, name="group"),
    path("access/groups/<uuid:group_id>/people/", group_join, name="group-join"),
    path("access/groups/<uuid:group_id>/people/<uuid:user_id>/remove/", group_leave, name="group-leave"),
    path("access/groups/<uuid:group_id>/delete/", delete_group, name="group-delete"),
    path("access/service-accounts/", service_accounts, name="service-accounts"),
    path("access/service-accounts/new/", create_account, name="service-account-create"),
    path("access/service-accounts/<uuid:account_id>/disable/", disable_account, name="service-account-disable"),
]
