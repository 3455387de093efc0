"""What an operator reads who looks inside a tenant, table by table: the expected rights of the role `exchequer_glass`."""

from __future__ import annotations

import psycopg

GLASS = "exchequer_glass"
GLASS_ROWS = (
    "glass_rows",
    "r",
    (GLASS,),
    "(tenant_id = ( SELECT exchequer_glass_tenant() AS exchequer_glass_tenant))",
    None,
)

#: What an operator reads who looks inside a tenant, while they may: whole rows, and of some tables columns.
INSIDE = frozenset(
    {
        "billing_meter",
        "billing_usageseries",
        "compute_allocation",
        "compute_attempt",
        "compute_attemptmember",
        "compute_device",
        "compute_devicehour",
        "compute_devicepresence",
        "compute_devicesample",
        "compute_jobgrouppermission",
        "compute_joblog",
        "compute_jobmetric",
        "compute_jobuserpermission",
        "compute_node",
        "compute_ownidlerule",
        "compute_poolidlerule",
        "demo_clock",
        "models_app_dataset",
        "models_app_datasetgrouppermission",
        "models_app_datasetuserpermission",
        "models_app_datasetversion",
        "models_app_endpoint",
        "models_app_endpointgrouppermission",
        "models_app_endpointuserpermission",
        "models_app_healthalert",
        "models_app_healthwindow",
        "models_app_model",
        "models_app_modelgrouppermission",
        "models_app_modeluserpermission",
        "models_app_modelversion",
        "models_app_pipelinerun",
        "models_app_schedule",
        "models_app_schedulerun",
        "models_app_steptry",
        "tenants_breakglass",
        "tenants_grant",
        "tenants_group",
        "tenants_groupmember",
        "tenants_membership",
        "tenants_project",
        "tenants_quota",
        "tenants_quotaceiling",
        "tenants_role",
        "tenants_serviceaccount",
        "tenants_tenant",
    }
)
#: Never read there, in tables that are read by column: amounts, hashes of passwords and keys, predictions and ground truth.
NOT_INSIDE = {
    "billing_contract": {
        "agreed_at",
        "agreed_by",
        "billing_address",
        "billing_email",
        "billing_name",
        "book_id",
        "country",
        "ends_on",
        "grace_days",
        "id",
        "payment_days",
        "tax_number",
        "tax_rate",
        "terms",
    },
    "billing_usagerollup": {"amount", "discount", "price_id", "rate_id"},
    "compute_jobset": {"cap"},
    "compute_job": {"max_cost", "price_version", "quoted_least", "quoted_most", "spent", "unit_amount"},
    "compute_sharedclass": {"set_at", "set_by_label"},
    "models_app_endpointkey": {"key_hash", "membership_id", "parent_key_id", "service_account_id"},
    "models_app_feedback": {"prediction", "predicted", "label", "received_at"},
    "models_app_pipeline": {"cap"},
    "models_app_preset": {"max_cost"},
    "tenants_user": {"password"},
}
GLASS_TABLES = """
SELECT c.relname, g.privilege_type FROM pg_class c, aclexplode(c.relacl) g
WHERE c.relnamespace = 'public'::regnamespace AND g.grantee = 'exchequer_glass'::regrole
"""
GLASS_COLUMNS = """
SELECT c.relname, a.attname, has_column_privilege('exchequer_glass', c.oid, a.attnum, 'SELECT'),
       has_column_privilege('exchequer_glass', c.oid, a.attnum, 'INSERT, UPDATE')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  AND EXISTS (SELECT FROM pg_attribute o, aclexplode(o.attacl) g WHERE o.attrelid = c.oid AND g.grantee = 'exchequer_glass'::regrole)
"""


def glass_faults(admin: psycopg.Connection) -> list[str]:
    """Return where the rights of an operator who looks inside differ from the listed ones: reading alone."""
    whole = admin.execute(GLASS_TABLES).fetchall()
    faults = [f"{table}: a look inside may {right}" for table, right in whole if right != "SELECT"]
    if {table for table, _ in whole} != INSIDE:
        faults.append(f"a look inside reads {sorted({table for table, _ in whole} ^ INSIDE)}, or should")
    hidden: dict[str, set[str]] = {}
    for table, column, read, written in admin.execute(GLASS_COLUMNS).fetchall():
        hidden.setdefault(table, set()).update(() if read else (column,))
        faults += [f"{table}.{column}: a look inside may write it"] if written else []
    return faults + ([] if hidden == NOT_INSIDE else [f"a look inside does not read {hidden}"])
