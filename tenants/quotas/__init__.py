"""Limits and reservations by resource name: the only way for apps to reserve resources.

A resource is a plain string such as `devices:cpu`; upper apps register theirs (`register`). A limit belongs to a scope:
the organisation, a project, or a person. It counts at once or in a local month. The operators' ceiling bounds it.
"""

from tenants.models import AT_ONCE, MONTH
from tenants.quotas.ceilings import CEILING_CHANGED, CeilingRow, ceiling_of, ceilings, raise_ceiling, set_ceiling
from tenants.quotas.effects import Named, preview, queued, register_work, use_of
from tenants.quotas.limits import QUOTA_CHANGED, AboveCeiling, Share, check_limit, raise_until, set_limit
from tenants.quotas.reservations import QuotaExceeded, Scopes, release, reserve, reserved
from tenants.quotas.resources import Amount, Resource, register, resources, title_of, titles
from tenants.quotas.rooms import Full, binding, full, rooms, where
from tenants.quotas.scopes import ORGANISATION, Scope, person_behind, person_of
from tenants.quotas.usage import QuotaUse, everywhere, usage, usage_of

__all__ = [
    "AT_ONCE",
    "CEILING_CHANGED",
    "MONTH",
    "ORGANISATION",
    "QUOTA_CHANGED",
    "AboveCeiling",
    "Amount",
    "CeilingRow",
    "Full",
    "Named",
    "QuotaExceeded",
    "QuotaUse",
    "Resource",
    "Scope",
    "Scopes",
    "Share",
    "binding",
    "ceiling_of",
    "ceilings",
    "check_limit",
    "everywhere",
    "full",
    "person_behind",
    "person_of",
    "preview",
    "queued",
    "raise_ceiling",
    "raise_until",
    "register",
    "register_work",
    "release",
    "reserve",
    "reserved",
    "resources",
    "rooms",
    "set_ceiling",
    "set_limit",
    "title_of",
    "titles",
    "usage",
    "usage_of",
    "use_of",
    "where",
]
