"""Tables of the tenancy app. Writes go through operations, reads through `queries`."""

from tenants.models.approvals import Approval, ApprovalState
from tenants.models.audit import OUTCOMES, AuditEntry, AuditHead, AuditSubject
from tenants.models.checkpoints import AuditCheckpoint, AuditPublicKey, PlatformCheckpoint
from tenants.models.credentials import ApiKey, Credential, Invitation
from tenants.models.encryption import MasterKeyRecord, TenantKey
from tenants.models.idempotency import IdempotencyKey, OperatorIdempotencyKey
from tenants.models.notifications import (
    Delivery,
    DeliveryState,
    Notification,
    NotificationChoice,
    Receiver,
    Webhook,
    WebhookDelivery,
    WebhookFormat,
)
from tenants.models.operators import (
    BreakGlass,
    OperatorAct,
    OperatorGrant,
    OperatorHead,
    OperatorKey,
    OperatorSession,
    TenantDigest,
)
from tenants.models.organisations import Project, Tenant, TenantExport, slug_rules
from tenants.models.outbox import OutboxMessage
from tenants.models.people import Membership, User, UserManager
from tenants.models.providers import (
    GIVEN_ROLES,
    OIDC,
    PROVIDER_KINDS,
    SAML,
    ExternalGroup,
    ExternalIdentity,
    FormerMember,
    IdentityProvider,
    LogInAttempt,
    MailDomain,
    ScimToken,
    ScimUser,
    UsedAssertion,
)
from tenants.models.quotas import AT_ONCE, MONTH, Quota, QuotaCeiling, QuotaReservation
from tenants.models.rights import Grant, Group, GroupMember, Role, ServiceAccount
from tenants.models.sessions import Session, StoredSession

__all__ = [
    "AT_ONCE",
    "GIVEN_ROLES",
    "MONTH",
    "OIDC",
    "OUTCOMES",
    "PROVIDER_KINDS",
    "SAML",
    "ApiKey",
    "Approval",
    "ApprovalState",
    "AuditCheckpoint",
    "AuditEntry",
    "AuditHead",
    "AuditPublicKey",
    "AuditSubject",
    "BreakGlass",
    "Credential",
    "Delivery",
    "DeliveryState",
    "ExternalGroup",
    "ExternalIdentity",
    "FormerMember",
    "Grant",
    "Group",
    "GroupMember",
    "IdempotencyKey",
    "IdentityProvider",
    "Invitation",
    "LogInAttempt",
    "MailDomain",
    "MasterKeyRecord",
    "Membership",
    "Notification",
    "NotificationChoice",
    "OperatorAct",
    "OperatorGrant",
    "OperatorHead",
    "OperatorIdempotencyKey",
    "OperatorKey",
    "OperatorSession",
    "OutboxMessage",
    "PlatformCheckpoint",
    "Project",
    "Quota",
    "QuotaCeiling",
    "QuotaReservation",
    "Receiver",
    "Role",
    "ScimToken",
    "ScimUser",
    "ServiceAccount",
    "Session",
    "StoredSession",
    "Tenant",
    "TenantDigest",
    "TenantExport",
    "TenantKey",
    "UsedAssertion",
    "User",
    "UserManager",
    "Webhook",
    "WebhookDelivery",
    "WebhookFormat",
    "slug_rules",
]
