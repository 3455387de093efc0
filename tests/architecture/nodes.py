"""What a node's login may do, table by table: the expected rights and policies of the group `exchequer_node`."""

from __future__ import annotations

import psycopg

NODE = "exchequer_node"
SAME = "(tenant_id = ( SELECT exchequer_node_tenant() AS exchequer_node_tenant))"
MY_JOBS = "( SELECT exchequer_node_jobs() AS exchequer_node_jobs)"
MINE = "(node_id = ( SELECT exchequer_node() AS exchequer_node))"
#: Tables of a tenant: the rights on them (in columns, in brackets), and what else must be so of a row.
ALLOWED: dict[str, tuple[set[str], str]] = {
    "billing_billingperiod": ({"SELECT", "INSERT (ends_at, id, period, starts_at, tenant_id)"}, ""),
    "billing_budget": ({"SELECT"}, ""),
    "billing_budgetperiod": ({"SELECT", "INSERT", "UPDATE (ceiling, held, spent, unheld)"}, ""),
    "billing_contract": ({"SELECT"}, ""),
    "billing_creditblock": ({"SELECT"}, ""),
    "billing_hold": ({"SELECT", "UPDATE (amount, released_at, settled, state)"}, ""),
    "billing_holdshare": ({"SELECT"}, ""),
    "billing_invoice": (
        {"INSERT (currency, ends_at, id, period, starts_at, tenant_id)", "SELECT (id, period, tenant_id)"},
        "",
    ),
    "billing_ledgerposting": ({"SELECT", "INSERT"}, ""),
    "billing_ledgershare": ({"SELECT", "INSERT"}, ""),
    "billing_ledgertransaction": ({"SELECT", "INSERT"}, ""),
    "billing_meter": ({"SELECT"}, ""),
    "billing_usageevent": (
        {
            "SELECT",
            "INSERT (amount, batch_id, billable, day, discount, ended_at, hold_id, key_hash, kind, measured, meter_id, part, period, "
            "price_id, project_id, rate_id, recorded_at, series_hash, started_at, tenant_id)",
        },
        "",
    ),
    "billing_usagekey": ({"SELECT", "INSERT"}, ""),
    "billing_usagerollup": ({"SELECT", "INSERT", "UPDATE"}, ""),
    "billing_usageseries": ({"SELECT", "INSERT"}, ""),
    "billing_wallet": ({"SELECT", "UPDATE (held, spent)"}, ""),
    "compute_attempt": (
        {
            "SELECT",
            "UPDATE (claimed_at, ended_at, exit_code, lease_until, measured_s, measured_until, message, missing_layers, "
            "outcome, rendezvous, seq, started_at, startup_s, state)",
        },
        f"(job_id IN {MY_JOBS}) AND {MINE}",
    ),
    "compute_attemptmember": ({"SELECT"}, ""),
    "compute_devicehour": ({"SELECT", "INSERT", "UPDATE (energy_j, peak_memory_bytes, sampled_s, used_s)"}, ""),
    "compute_devicesample": ({"SELECT", "INSERT"}, f"(job_id IN {MY_JOBS})"),
    "compute_job": (
        {
            "SELECT",
            "UPDATE (cause, checkpoint, ended_at, hold_id, infrastructure_kills, measured_s, message, not_before, "
            "own_crashes, progress, result, spent, started_at, state)",
        },
        f"(id IN {MY_JOBS})",
    ),
    "compute_joblog": ({"SELECT", "INSERT"}, f"(job_id IN {MY_JOBS})"),
    "compute_jobmetric": ({"SELECT", "INSERT"}, f"(job_id IN {MY_JOBS})"),
    "models_app_dataset": ({"SELECT"}, ""),
    "models_app_datasetversion": ({"SELECT"}, ""),
    "models_app_model": ({"SELECT", "INSERT", "UPDATE (tenant_id)"}, ""),
    "models_app_modelversion": ({"SELECT", "INSERT"}, ""),
    "tenants_apikey": (
        {
            "SELECT (created_at, created_by, created_by_id, expires_at, id, last_used_at, membership_id, name, parent_key_id, "
            "prefix, project_id, replaced_by, revoked_at, scopes, service_account_id, succeeds, tenant_id)"
        },
        "",
    ),
    "tenants_auditentry": ({"INSERT"}, "((actor_type)::text = 'system'::text)"),
    "tenants_audithead": ({"SELECT", "UPDATE (hash, seq)"}, ""),
    "tenants_datakey": ({"SELECT"}, ""),
    "tenants_grant": ({"SELECT"}, ""),
    "tenants_group": ({"SELECT"}, ""),
    "tenants_groupmember": ({"SELECT"}, ""),
    "tenants_membership": ({"SELECT"}, ""),
    "tenants_outboxmessage": ({"INSERT", "SELECT (created_at)"}, ""),
    "tenants_project": ({"SELECT"}, ""),
    "tenants_quota": ({"SELECT", "UPDATE (in_use)"}, ""),
    "tenants_quotaceiling": ({"SELECT"}, ""),
    "tenants_quotareservation": ({"SELECT", "DELETE"}, ""),
    "tenants_role": ({"SELECT"}, ""),
}
#: Tables that belong to no tenant, or that are bound in another way; its own row and devices are all that it changes.
BESIDES: dict[str, set[str]] = {
    "billing_exchangerate": {"SELECT"},
    "billing_price": {"SELECT"},
    "billing_pricebook": {"SELECT"},
    "billing_priceversion": {"SELECT"},
    "billing_seller": {"SELECT (country, only_row)"},
    "billing_taxrate": {"SELECT"},
    "compute_device": {
        "SELECT",
        "INSERT",
        "UPDATE (cordoned_for, device_class, held, index, kind, link, memory_bytes, name, serves, state, state_at, "
        "state_reason, temperature_c, warning)",
    },
    "compute_devicehold": {"SELECT", "DELETE"},
    "compute_devicepresence": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "compute_node": {"SELECT", "UPDATE (accepting, boot, hostname, last_seen_at, missing_layers, release)"},
    "demo_clock": {"SELECT"},
    "tenants_masterkey": {"SELECT"},
    "tenants_tenant": {"SELECT"},
    "tenants_user": {"SELECT (id, is_active, is_operator)"},
}
EARLIER = ("node_reads", "r", (NODE,), f"({SAME} AND (job_id IN {MY_JOBS}))", None)
OWN_TENANT = ("node_rows", "r", (NODE,), "(id = ( SELECT exchequer_node_tenant() AS exchequer_node_tenant))", None)
RIGHTS = """
SELECT c.relname, g.privilege_type, '' FROM pg_class c, aclexplode(c.relacl) g
WHERE c.relnamespace = 'public'::regnamespace AND g.grantee = %(group)s::regrole
UNION ALL
SELECT c.relname, g.privilege_type, string_agg(a.attname, ', ' ORDER BY a.attname COLLATE "C")
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, aclexplode(a.attacl) g
WHERE c.relnamespace = 'public'::regnamespace AND g.grantee = %(group)s::regrole GROUP BY 1, 2
"""

Policy = tuple[str, str, tuple[str, ...], str | None, str | None]


def node_policies(table: str) -> set[Policy]:
    """Return the policies by which a node sees and writes a tenant's table."""
    if table == "tenants_tenant":
        return {OWN_TENANT}
    if table not in ALLOWED:
        return set()
    also = ALLOWED[table][1]
    rows = f"({SAME} AND {also})" if also else SAME
    return {("node_rows", "*", (NODE,), rows, rows)} | ({EARLIER} if table == "compute_attempt" else set())


def node_faults(admin: psycopg.Connection) -> list[str]:
    """Return where the rights of the nodes' group differ from the listed ones."""
    return rights_faults(admin, NODE, {table: rights for table, (rights, _) in ALLOWED.items()} | BESIDES)


def rights_faults(admin: psycopg.Connection, group: str, wanted: dict[str, set[str]]) -> list[str]:
    """Return where the rights of a group differ from these, by table."""
    found: dict[str, set[str]] = {}
    for table, right, columns in admin.execute(RIGHTS, {"group": group}).fetchall():
        found.setdefault(table, set()).add(f"{right} ({columns})" if columns else right)
    return [
        f"{table}: {group} may {sorted(found.get(table, ()))}, expected {sorted(wanted.get(table, ()))}"
        for table in sorted(found.keys() | wanted.keys())
        if found.get(table, set()) != wanted.get(table, set())
    ]
