"""The one table from an operator's role to permissions. Operators sell and govern; they see no tenant's data or jobs.

`tenants.look_inside` asks for a look inside a tenant (`tenants/operators/glass`), of which its owners are notified.
"""

VIEW = frozenset({"tenants.view", "quotas.view", "prices.view", "invoices.view", "fleet.view", "log.view"})

OPERATOR_ROLES: dict[str, frozenset[str]] = {
    "platform_admin": VIEW
    | {
        "tenants.manage",
        "tenants.look_inside",
        "tenants.erase",
        "tenants.export",
        "quotas.manage",
        "approvals.answer",
        "fleet.manage",
        "log.review",
        "mail.view",
        "operators.view",
        "webhooks.manage",
    },
    "platform_finance": VIEW | {"prices.manage", "invoices.manage", "seller.manage", "approvals.answer"},
    "platform_support": VIEW | {"log.review", "tenants.look_inside"},
}
OPERATOR_PERMISSIONS = frozenset().union(*OPERATOR_ROLES.values())

#: What each role is for, as the list of operators shows it.
OPERATOR_ROLE_WORDS = {
    "platform_admin": "tenants, ceilings, the fleet and webhooks",
    "platform_finance": "prices, contracts and invoices",
    "platform_support": "reads, and reviews the operator log",
}
