"""API operations of the tenancy app, and all their routes."""

from django.urls import URLPattern, path

from tenants.api import identity_provider as provider
from tenants.api.access_requests import AccessRequests
from tenants.api.approvals import ApprovalApprove, ApprovalDecline, Approvals, QuotaRequests
from tenants.api.audit import Audit, AuditExport, AuditKeys, AuditVerify
from tenants.api.invitations import Invitations, OneInvitation
from tenants.api.members import Member, MemberAdoption, MemberDeparture, Members
from tenants.api.notification_choices import NotificationChoices
from tenants.api.organisation import ApiKeyRotation, ApiKeys, Me, OneApiKey, OneProject, Organisation, Projects
from tenants.api.quotas import Quotas
from tenants.api.rights import (
    Access,
    Grants,
    GroupMembers,
    Groups,
    OneGrant,
    OneGroup,
    OneGroupMember,
    OneRole,
    OneServiceAccount,
    Roles,
    ServiceAccounts,
)
from tenants.api.sessions import OneSession, Sessions
from tenants.api.webhooks import (
    Deliveries,
    OneWebhook,
    Replay,
    WebhookAddress,
    Webhooks,
    WebhookSecret,
    WebhookTest,
    WebhookTypes,
)

__all__ = ["urlpatterns"]

urlpatterns: list[URLPattern] = [
    path("me/", Me.as_view(), name="api-me"),
    path("organisation/", Organisation.as_view(), name="api-organisation"),
    path("projects/", Projects.as_view(), name="api-projects"),
    path("projects/<uuid:project_id>/", OneProject.as_view(), name="api-project"),
    path("api-keys/", ApiKeys.as_view(), name="api-keys"),
    path("api-keys/<uuid:key_id>/", OneApiKey.as_view(), name="api-key"),
    path("api-keys/<uuid:key_id>/rotate/", ApiKeyRotation.as_view(), name="api-key-rotate"),
    path("quotas/", Quotas.as_view(), name="api-quotas"),
    path("quotas/requests/", QuotaRequests.as_view(), name="api-quota-requests"),
    path("approvals/", Approvals.as_view(), name="api-approvals"),
    path("approvals/<uuid:approval_id>/approve/", ApprovalApprove.as_view(), name="api-approval-approve"),
    path("approvals/<uuid:approval_id>/decline/", ApprovalDecline.as_view(), name="api-approval-decline"),
    path("members/", Members.as_view(), name="api-members"),
    path("members/<uuid:user_id>/", Member.as_view(), name="api-member"),
    path("members/<uuid:user_id>/departure/", MemberDeparture.as_view(), name="api-member-departure"),
    path("members/<uuid:user_id>/adopt/", MemberAdoption.as_view(), name="api-member-adoption"),
    path("invitations/", Invitations.as_view(), name="api-invitations"),
    path("invitations/<uuid:invitation_id>/", OneInvitation.as_view(), name="api-invitation"),
    path("roles/", Roles.as_view(), name="api-roles"),
    path("roles/<uuid:role_id>/", OneRole.as_view(), name="api-role"),
    path("groups/", Groups.as_view(), name="api-groups"),
    path("groups/<uuid:group_id>/", OneGroup.as_view(), name="api-group"),
    path("groups/<uuid:group_id>/members/", GroupMembers.as_view(), name="api-group-members"),
    path("groups/<uuid:group_id>/members/<uuid:user_id>/", OneGroupMember.as_view(), name="api-group-member"),
    path("service-accounts/", ServiceAccounts.as_view(), name="api-service-accounts"),
    path("service-accounts/<uuid:account_id>/", OneServiceAccount.as_view(), name="api-service-account"),
    path("grants/", Grants.as_view(), name="api-grants"),
    path("grants/<uuid:grant_id>/", OneGrant.as_view(), name="api-grant"),
    path("access/", Access.as_view(), name="api-access"),
    path("webhooks/", Webhooks.as_view(), name="api-webhooks"),
    path("webhooks/types/", WebhookTypes.as_view(), name="api-webhook-types"),
    path("webhooks/<uuid:webhook_id>/", OneWebhook.as_view(), name="api-webhook"),
    path("webhooks/<uuid:webhook_id>/address/", WebhookAddress.as_view(), name="api-webhook-address"),
    path("webhooks/<uuid:webhook_id>/secret/", WebhookSecret.as_view(), name="api-webhook-secret"),
    path("webhooks/<uuid:webhook_id>/test/", WebhookTest.as_view(), name="api-webhook-test"),
    path("webhooks/<uuid:webhook_id>/deliveries/", Deliveries.as_view(), name="api-webhook-deliveries"),
    path(
        "webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/",
        Replay.as_view(),
        name="api-webhook-replay",
    ),
    path("notifications/choices/", NotificationChoices.as_view(), name="api-notification-choices"),
    path("access/requests/", AccessRequests.as_view(), name="api-access-requests"),
    path("identity-provider/", provider.Provider.as_view(), name="api-provider"),
    path("identity-provider/required/", provider.Required.as_view(), name="api-provider-required"),
    path("identity-provider/leavers/", provider.Leavers.as_view(), name="api-provider-leavers"),
    path("identity-provider/domains/", provider.Domains.as_view(), name="api-domains"),
    path("identity-provider/domains/<uuid:domain_id>/", provider.OneDomain.as_view(), name="api-domain"),
    path(
        "identity-provider/domains/<uuid:domain_id>/verify/", provider.DomainVerify.as_view(), name="api-domain-verify"
    ),
    path("identity-provider/scim-tokens/", provider.ScimTokens.as_view(), name="api-scim-tokens"),
    path("identity-provider/scim-tokens/<uuid:token_id>/", provider.OneScimToken.as_view(), name="api-scim-token"),
    path("identity-provider/groups/", provider.Mappings.as_view(), name="api-provider-groups"),
    path("identity-provider/groups/<uuid:mapping_id>/", provider.OneMapping.as_view(), name="api-provider-group"),
    path("identity-provider/people/", provider.Linked.as_view(), name="api-provider-people"),
    path("identity-provider/people/<uuid:identity_id>/", provider.OneLinked.as_view(), name="api-provider-person"),
    path("sessions/", Sessions.as_view(), name="api-sessions"),
    path("sessions/<str:session_id>/", OneSession.as_view(), name="api-session"),
    path("audit/", Audit.as_view(), name="api-audit"),
    path("audit/verify/", AuditVerify.as_view(), name="api-audit-verify"),
    path("audit/keys/", AuditKeys.as_view(), name="api-audit-keys"),
    path("audit/export/", AuditExport.as_view(), name="api-audit-export"),
]
