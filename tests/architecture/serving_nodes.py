"""What a serving node's login may do, table by table: the expected rights and policies of the group `exchequer_serving`."""

from __future__ import annotations

import psycopg

from tests.architecture.nodes import Policy, rights_faults

SERVING = "exchequer_serving"
SAME = "(tenant_id = ( SELECT exchequer_serving_tenant() AS exchequer_serving_tenant))"
SERVED = "( SELECT exchequer_serving_endpoints() AS exchequer_serving_endpoints)"
MINE = "(node_id = ( SELECT exchequer_node() AS exchequer_node))"
#: Tables of a tenant: the rights on them (in columns, in brackets), and what else must be so of a row.
ALLOWED: dict[str, tuple[set[str], str]] = {
    "billing_billingperiod": ({"INSERT (ends_at, id, period, starts_at, tenant_id)", "SELECT"}, ""),
    "billing_budget": ({"SELECT"}, ""),
    "billing_budgetperiod": ({"INSERT", "SELECT", "UPDATE (ceiling, held, spent, unheld)"}, ""),
    "billing_contract": ({"SELECT"}, ""),
    "billing_creditblock": ({"SELECT"}, ""),
    "billing_hold": ({"INSERT", "SELECT", "UPDATE (amount, released_at, settled, state)"}, ""),
    "billing_holdshare": ({"INSERT", "SELECT"}, ""),
    "billing_invoice": (
        {"INSERT (currency, ends_at, id, period, starts_at, tenant_id)", "SELECT (id, period, tenant_id)"},
        "",
    ),
    "billing_ledgerposting": ({"INSERT", "SELECT"}, ""),
    "billing_ledgershare": ({"INSERT", "SELECT"}, ""),
    "billing_ledgertransaction": ({"INSERT", "SELECT"}, ""),
    "billing_meter": ({"SELECT"}, ""),
    "billing_usageevent": (
        {
            "INSERT (amount, batch_id, billable, day, discount, ended_at, hold_id, key_hash, kind, measured, meter_id, part, period, price_id, project_id, rate_id, recorded_at, series_hash, started_at, tenant_id)",
            "SELECT",
        },
        "",
    ),
    "billing_usagekey": ({"INSERT", "SELECT"}, ""),
    "billing_usagerollup": ({"INSERT", "SELECT", "UPDATE"}, ""),
    "billing_usageseries": ({"INSERT", "SELECT"}, ""),
    "billing_wallet": ({"SELECT", "UPDATE (held, spent)"}, ""),
    "compute_allocation": (
        {"SELECT", "UPDATE (billed_until, boot, ended_at, hold_id, lease_until, reason, settle_at, state)"},
        MINE,
    ),
    "models_app_endpoint": ({"SELECT", "UPDATE (message, state)"}, f"(id IN {SERVED})"),
    "models_app_endpointkey": (
        {"SELECT (endpoint_id, expires_at, id, requests_per_minute, revoked_at, tenant_id)"},
        f"(endpoint_id IN {SERVED})",
    ),
    "models_app_feedback": (
        {"SELECT (correct, endpoint_id, error, id, predicted_at, tenant_id, version_id)"},
        f"(endpoint_id IN {SERVED})",
    ),
    "models_app_healthalert": ({"INSERT", "SELECT", "UPDATE (resolved_at)"}, f"(endpoint_id IN {SERVED})"),
    "models_app_healthwindow": (
        {"INSERT", "SELECT", "UPDATE (compute_ms, errors, inputs, latency, outputs, requests, rows)"},
        f"(endpoint_id IN {SERVED})",
    ),
    "models_app_model": ({"SELECT"}, "(id IN ( SELECT v.model_id\n   FROM models_app_modelversion v))"),
    "models_app_modelversion": ({"SELECT"}, "(id IN ( SELECT e.version_id\n   FROM models_app_endpoint e))"),
    "tenants_apikey": ({"SELECT (id, membership_id, tenant_id)"}, ""),
    "tenants_auditentry": ({"INSERT"}, "((actor_type)::text = 'system'::text)"),
    "tenants_audithead": ({"SELECT", "UPDATE (hash, seq)"}, ""),
    "tenants_membership": ({"SELECT (id, tenant_id, user_id)"}, ""),
    "tenants_outboxmessage": ({"INSERT", "SELECT (created_at)"}, ""),
    "tenants_project": ({"SELECT"}, ""),
    "tenants_quota": ({"SELECT", "UPDATE (in_use)"}, ""),
    "tenants_quotareservation": ({"DELETE", "SELECT"}, ""),
}
#: Money is taken for what is served now, in the node's own name.
SLICES: tuple[set[str], set[Policy]] = (
    {"INSERT", "SELECT", "UPDATE (closed_at, hold_id)"},
    {
        ("serving_reads", "r", (SERVING,), f"({SAME} AND {MINE})", None),
        ("serving_closes", "w", (SERVING,), f"({SAME} AND {MINE})", None),
        (
            "serving_takes",
            "a",
            (SERVING,),
            None,
            f"({SAME} AND {MINE} AND (endpoint_id IN ( SELECT exchequer_serving_now() AS exchequer_serving_now)) "
            "AND (opened_at <= exchequer_now()))",
        ),
    },
)
#: Tables that belong to no tenant, or that are bound in another way; its own row and slots are all that it changes.
BESIDES: dict[str, set[str]] = {
    "billing_exchangerate": {"SELECT"},
    "billing_price": {"SELECT"},
    "billing_pricebook": {"SELECT"},
    "billing_priceversion": {"SELECT"},
    "billing_seller": {"SELECT (country, only_row)"},
    "billing_taxrate": {"SELECT"},
    "compute_device": {
        "INSERT",
        "SELECT",
        "UPDATE (cordoned_for, device_class, held, index, kind, link, memory_bytes, name, serves, state, state_at, state_reason)",
    },
    "compute_devicehold": {"DELETE", "SELECT"},
    "compute_devicepresence": {"DELETE", "INSERT", "SELECT", "UPDATE"},
    "compute_node": {"SELECT", "UPDATE (accepting, boot, hostname, last_seen_at, missing_layers, release)"},
    "demo_clock": {"SELECT"},
    "tenants_tenant": {"SELECT"},
}
OWN_TENANT: Policy = (
    "serving_rows",
    "r",
    (SERVING,),
    "(id = ( SELECT exchequer_serving_tenant() AS exchequer_serving_tenant))",
    None,
)
#: Tables that functions read for it, within one tenant: what a key's creator may do, and which endpoints are served.
LOOKED_UP = frozenset(
    {
        "models_app_endpoint",
        "models_app_servingslice",
        "tenants_grant",
        "tenants_groupmember",
        "tenants_project",
        "tenants_role",
        "tenants_serviceaccount",
    }
)


def serving_policies(table: str) -> set[Policy]:
    """Return the policies by which a serving node sees and writes a tenant's table."""
    if table == "tenants_tenant":
        return {OWN_TENANT}
    if table == "models_app_servingslice":
        return SLICES[1]
    if table not in ALLOWED:
        return set()
    also = ALLOWED[table][1]
    rows = f"({SAME} AND {also})" if also else SAME
    return {("serving_rows", "*", (SERVING,), rows, rows)}


def serving_faults(admin: psycopg.Connection) -> list[str]:
    """Return where the rights of the serving nodes' group differ from the listed ones."""
    wanted = {table: rights for table, (rights, _) in ALLOWED.items()} | BESIDES
    return rights_faults(admin, SERVING, wanted | {"models_app_servingslice": SLICES[0]})
