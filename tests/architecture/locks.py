"""Expected isolation of tenants' tables, word for word: policies by table, and references without foreign keys.

The mere presence of a policy proves nothing: `USING (true)` is one too. So each table's policies are compared with
these texts; a table that needs more than `tenant_rows` is listed with its reason.
"""

from __future__ import annotations

import psycopg

from tests.architecture.inside import GLASS_ROWS, INSIDE, NOT_INSIDE
from tests.architecture.nodes import node_policies
from tests.architecture.serving_nodes import LOOKED_UP as LOOKED_UP_SERVING
from tests.architecture.serving_nodes import serving_policies

BOTH = ("exchequer_app", "exchequer_control")
OPERATOR = "exchequer_operator"
SAME = """(tenant_id = ( SELECT (NULLIF(current_setting('app.tenant'::text, true), ''::text))::uuid AS "nullif"))"""

OPERATORS_ACTS = f"({SAME} AND ((actor_type)::text = 'system'::text) AND ((actor_label)::text = 'operator'::text))"

OPERATORS_EVENTS = (
    f"({SAME} AND ((topic)::text = ANY ((ARRAY['tenants.TenantCreated'::character varying, "
    "'tenants.OwnerAwaited'::character varying, 'tenants.StandingChanged'::character varying, "
    "'tenants.GlassBroken'::character varying, 'tenants.ApprovalAnswered'::character varying])::text[])))"
)

#: What the console answers of a tenant's approvals.
OPERATORS_ANSWERS = f"({SAME} AND ((side)::text = 'operators'::text))"

OPERATORS_ASKS = f"({SAME} AND ((side)::text = 'operators'::text) AND ((kind)::text = 'invoice'::text) AND ((state)::text = 'open'::text))"

OPERATORS_INVOICES = (
    f"({SAME} AND ((topic)::text = ANY ((ARRAY['billing.InvoiceFinalised'::character varying, "
    "'billing.InvoiceVoided'::character varying, 'billing.InvoiceCredited'::character varying, "
    "'billing.InvoicePaid'::character varying, 'billing.PaymentReversed'::character varying])::text[])))"
)

OPERATORS_MAILS = f"({SAME} AND ((topic)::text = 'billing.InvoiceSendOrdered'::text))"
OPERATORS_DISPUTES = f"({SAME} AND ((topic)::text = 'billing.InvoiceDisputed'::text))"

Policy = tuple[str, str, tuple[str, ...], str | None, str | None]
"""Name, command (* for all), roles, USING, WITH CHECK."""

TENANT_ROWS: Policy = ("tenant_rows", "*", BOTH, SAME, SAME)
CONTROL_ROWS: Policy = ("control_rows", "*", ("exchequer_control",), "true", "true")
SERVING_LOOKUPS: Policy = ("serving_lookups", "r", ("exchequer_owner",), SAME, None)
LOOKUP_ROWS: Policy = ("lookup_rows", "r", ("exchequer_owner",), "true", None)
OPERATOR_READS: Policy = ("operator_rows", "r", (OPERATOR,), "true", None)

#: What the payment provider reports is found by its own ids. A run stores the drafts of many tenants by one statement.
#: The controller (with the limits that it weighs), the relay, cleanup, the signer of checkpoints, readers of files and key rotation, and the sweeps of holds, of webhooks, of domains and of looks find these rows before they know the tenant.
CONTROL = frozenset(
    {
        "billing_collection",
        "billing_hold",
        "billing_meterseries",
        "billing_payment",
        "billing_paymentaccount",
        "billing_prepareddraft",
        "compute_allocation",
        "compute_attempt",
        "compute_attemptmember",
        "compute_job",
        "compute_jobset",
        "models_app_datasetversion",
        "models_app_pipelinerun",
        "models_app_schedule",
        "models_app_schedulerun",
        "tenants_auditcheckpoint",
        "tenants_audithead",
        "tenants_breakglass",
        "tenants_datakey",
        "tenants_idempotencykey",
        "tenants_maildomain",
        "tenants_notification",
        "tenants_outboxmessage",
        "tenants_quota",
        "tenants_quotaceiling",
        "tenants_tenantexport",
        "tenants_webhook",
        "tenants_webhookdelivery",
    }
)
#: The console's rights within one tenant, word for word. No dataset, job, model, prediction or secret is among them.
OPERATED = {
    "billing_billingperiod": {"SELECT", "INSERT"},
    "billing_collection": {"SELECT", "INSERT"},
    "billing_contract": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "billing_creditblock": {"SELECT", "INSERT"},
    "billing_creditmovement": {"SELECT", "INSERT"},
    "billing_creditnote": {"SELECT", "INSERT"},
    "billing_creditnoteline": {"SELECT", "INSERT"},
    "billing_dispute": {"SELECT"},
    "billing_disputemessage": {"SELECT", "INSERT"},
    "billing_invoice": {"SELECT", "INSERT", "UPDATE"},
    "billing_invoicecomment": {"SELECT", "INSERT"},
    "billing_invoiceline": {"SELECT", "INSERT"},
    "billing_ledgerposting": {"SELECT", "INSERT"},
    "billing_ledgertransaction": {"SELECT", "INSERT"},
    "billing_meter": {"SELECT"},
    "billing_meterseries": {"SELECT"},
    "billing_payment": {"SELECT", "INSERT"},
    "billing_prepareddraft": {"SELECT"},
    "billing_reconciliation": {"SELECT"},
    "billing_reminder": {"SELECT"},
    "billing_stopdeferral": {"SELECT", "INSERT"},
    "billing_topup": {"SELECT"},
    "billing_wallet": {"SELECT", "INSERT", "UPDATE"},
    "tenants_audithead": {"SELECT", "INSERT", "UPDATE"},
    "tenants_breakglass": {"SELECT", "INSERT"},
    "tenants_auditsubject": {"SELECT", "INSERT"},
    "tenants_grant": {"SELECT"},
    "tenants_invitation": {"SELECT"},
    "tenants_membership": {"SELECT"},
    "tenants_project": {"SELECT"},
    "tenants_quota": {"SELECT"},
    "tenants_quotaceiling": {"SELECT", "INSERT", "UPDATE"},
    "tenants_role": {"SELECT"},
    "tenants_tenantexport": {"SELECT", "INSERT"},
}
#: And its rights on what belongs to no tenant, and on the tenants themselves, which it reads across all.
PLATFORM = {
    "account_emailaddress": {"SELECT"},
    "billing_numberseries": {"SELECT"},
    "billing_seller": {"SELECT", "UPDATE"},
    "billing_paymentcircuit": {"SELECT"},
    "billing_periodrun": {"SELECT", "INSERT"},
    "billing_reconciliationorder": {"SELECT", "INSERT"},
    "billing_clusterrule": {"SELECT", "INSERT"},
    "billing_devicecost": {"SELECT", "INSERT"},
    "billing_devicecostwithdrawal": {"SELECT", "INSERT"},
    "compute_poolidlerule": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "billing_exchangerate": {"SELECT", "INSERT"},
    "billing_taxrate": {"SELECT", "INSERT", "DELETE"},
    "billing_price": {"SELECT", "INSERT"},
    "billing_pricebook": {"SELECT", "INSERT", "UPDATE"},
    "billing_priceversion": {"SELECT", "INSERT"},
    "compute_capacitywanted": {"SELECT"},
    "compute_device": {"SELECT", "UPDATE"},
    "compute_node": {"SELECT"},
    "compute_nodetoken": {"SELECT", "INSERT"},
    "compute_sharedclass": {"SELECT", "INSERT", "UPDATE"},
    "demo_clock": {"SELECT"},
    "django_content_type": {"SELECT"},
    "django_migrations": {"SELECT"},
    "mfa_authenticator": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "tenants_approval": {"SELECT", "INSERT"},
    "tenants_auditentry": {"SELECT", "INSERT"},
    "tenants_operatoract": {"SELECT", "INSERT"},
    "tenants_operatorgrant": {"SELECT"},
    "tenants_operatorhead": {"SELECT", "UPDATE"},
    "tenants_operatoremailchoice": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "tenants_operatoridempotencykey": {"SELECT", "INSERT", "UPDATE"},
    "tenants_operatorkey": {"SELECT", "INSERT"},
    "tenants_operatorsession": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "tenants_outboxmessage": {"SELECT", "INSERT"},
    "tenants_platformdelivery": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "tenants_platformevent": {"SELECT", "INSERT"},
    "tenants_platformwebhook": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "tenants_ratelimit": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "tenants_refusedlogin": {"INSERT"},
    "tenants_tenant": {"SELECT", "INSERT"},
    "tenants_tenantdigest": {"SELECT", "INSERT"},
    "tenants_user": {"SELECT"},
}
#: What it may change of rows that it does not own as a whole.
CONSOLE_COLUMNS = {
    "billing_billingperiod": {"state", "closed_at", "closed_by"},
    "billing_collection": {"state", "attempt", "next_at", "error_code", "error"},
    "billing_creditblock": {"remaining"},
    "billing_dispute": {"state", "ended_by", "ended_at"},
    "billing_numberseries": {"next_number"},
    "billing_taxrate": {"ends_on"},
    "billing_topup": {"closed_at"},
    "compute_node": {"draining", "labels"},
    "compute_nodetoken": {"revoked_at"},
    "tenants_approval": {"state", "answered_by", "answered_by_label", "answered_at", "answer_reason"},
    "tenants_breakglass": {
        "answered_by",
        "answered_label",
        "answered_at",
        "ends_at",
        "ended_at",
        "ended_label",
        "ticket_hash",
        "ticket_ends_at",
    },
    "tenants_operatorkey": {"last_used_at", "revoked_at"},
    "tenants_tenant": {
        "closes_at",
        "erase_ordered_at",
        "reason_before",
        "standing",
        "standing_before",
        "standing_reason",
    },
    "tenants_user": {"last_login", "name", "password", "single_keys", "theme"},
}
#: Read by a SECURITY DEFINER function of the allowlist, which returns ids only, or sums of usage, of devices and of money held;
#: and what the drafts of the tenants are made of that a run of a month names.
LOOKED_UP = frozenset(
    {
        "billing_budget",
        "billing_contract",
        "billing_creditblock",
        "billing_hold",
        "billing_invoice",
        "billing_invoiceline",
        "billing_meter",
        "billing_usagerollup",
        "billing_usageseries",
        "compute_allocation",
        "compute_attempt",
        "compute_attemptmember",
        "compute_devicehour",
        "compute_job",
        "compute_jobset",
        "models_app_endpointkey",
        "tenants_apikey",
        "tenants_breakglass",
        "tenants_datakey",
        "tenants_identityprovider",
        "tenants_invitation",
        "tenants_maildomain",
        "tenants_membership",
        "tenants_scimtoken",
    }
)
#: Tables with a complete set of their own policies.
OWN: dict[str, set[Policy]] = {
    # The console lists what it is asked by all tenants, and answers within one.
    "tenants_approval": {
        TENANT_ROWS,
        ("operator_rows", "r", (OPERATOR,), "((side)::text = 'operators'::text)", None),
        ("operator_answers", "w", (OPERATOR,), OPERATORS_ANSWERS, OPERATORS_ANSWERS),
        ("operator_asks", "a", (OPERATOR,), None, OPERATORS_ASKS),
    },
    # The console lists the contracts of all tenants.
    "billing_contract": {("tenant_rows", "*", (*BOTH, OPERATOR), SAME, SAME), OPERATOR_READS},
    # And the meters that they define, which price books name.
    "billing_meter": {("tenant_rows", "*", (*BOTH, OPERATOR), SAME, SAME), OPERATOR_READS},
    # And their invoices.
    "billing_invoice": {("tenant_rows", "*", (*BOTH, OPERATOR), SAME, SAME), OPERATOR_READS},
    # And their disputes.
    "billing_dispute": {("tenant_rows", "*", (*BOTH, OPERATOR), SAME, SAME), OPERATOR_READS},
    # And what was found and prepared of them.
    "billing_prepareddraft": {("tenant_rows", "*", (*BOTH, OPERATOR), SAME, SAME), OPERATOR_READS},
    "billing_reminder": {("tenant_rows", "*", (*BOTH, OPERATOR), SAME, SAME), OPERATOR_READS},
    "billing_stopdeferral": {("tenant_rows", "*", (*BOTH, OPERATOR), SAME, SAME), OPERATOR_READS},
    "billing_reconciliation": {("tenant_rows", "*", (*BOTH, OPERATOR), SAME, SAME), OPERATOR_READS},
    # The console's part of a tenant's log: what operators did.
    "tenants_auditentry": {TENANT_ROWS, ("operator_rows", "*", (OPERATOR,), OPERATORS_ACTS, OPERATORS_ACTS)},
    # The console lists looks of all tenants; a ticket is found and used up before the tenant is known.
    "tenants_breakglass": {
        ("tenant_rows", "*", (*BOTH, OPERATOR), SAME, SAME),
        OPERATOR_READS,
        ("tickets", "w", ("exchequer_owner",), "true", None),
    },
    # A function removes the keys of a tenant that is erased.
    "tenants_datakey": {TENANT_ROWS, ("destroyed", "d", ("exchequer_owner",), "true", None)},
    "tenants_tenantdigest": {CONTROL_ROWS, OPERATOR_READS, ("operator_makes", "a", (OPERATOR,), None, SAME)},
    # The console publishes and sees its own events alone; the relay serves every tenant.
    "tenants_outboxmessage": {
        TENANT_ROWS,
        ("operator_rows", "*", (OPERATOR,), OPERATORS_EVENTS, OPERATORS_EVENTS),
        ("operator_invoices", "*", (OPERATOR,), OPERATORS_INVOICES, OPERATORS_INVOICES),
        ("operator_mails", "*", (OPERATOR,), OPERATORS_MAILS, OPERATORS_MAILS),
        ("operator_disputes", "*", (OPERATOR,), OPERATORS_DISPUTES, OPERATORS_DISPUTES),
    },
    # The function that looks a key up also records its last use.
    "models_app_endpointkey": {TENANT_ROWS, ("last_use", "w", ("exchequer_owner",), "true", None)},
}

#: Tables without a tenant that the web process may access: Django's own, accounts, counters, the platform's devices.
UNLOCKED = frozenset(
    {
        "account_emailaddress",
        "account_emailconfirmation",
        "auth_group",
        "auth_group_permissions",
        "auth_permission",
        "billing_exchangerate",
        "billing_gatewayevent",
        "billing_seller",
        "billing_taxrate",
        "compute_capacitywanted",
        "compute_device",
        "compute_devicehold",
        "compute_devicepresence",
        "compute_node",
        "compute_nodesecret",
        "compute_poolidlerule",
        "compute_runprior",
        "compute_sharedclass",
        "demo_clock",
        "django_content_type",
        "django_migrations",
        "guardian_groupobjectpermission",
        "guardian_userobjectpermission",
        "mfa_authenticator",
        "tenants_auditpublickey",
        "tenants_masterkey",
        "tenants_ratelimit",
        "tenants_session",
        "tenants_user",
        "tenants_user_groups",
        "tenants_user_user_permissions",
    }
)

#: References without a foreign key, by table, and why that is right.
LOOSE = {
    # People and keys are deleted; their actions stay, with their id.
    "billing_hold": {"placed_by_id"},
    "billing_heldevent": {"decided_by_id"},
    "billing_senderday": {"sender_id"},
    "billing_topup": {"asked_by_id"},
    "billing_usagebatch": {"sender_id"},
    "tenants_apikey": {"created_by_id", "membership_id"},
    "models_app_endpointkey": {"membership_id"},
    "tenants_idempotencykey": {"actor_id"},
    "tenants_invitation": {"invited_by_id", "membership_id"},
    "tenants_scimtoken": {"membership_id"},
    # The event's own name, the same for every webhook that receives it.
    "tenants_webhookdelivery": {"event_id"},
    # Names that the provider gives; the rows that they stand for are its own.
    "tenants_externalgroup": {"external_id"},
    "tenants_identityprovider": {"client_id"},
    "tenants_scimuser": {"external_id"},
    "tenants_auditentry": {"actor_id", "request_id", "target_id"},
    # Written for every second of every device: a foreign key check per row costs more than the row.
    "billing_ledgershare": {"attempt_id", "transaction_id"},
    "billing_ledgertransaction": {"attempt_id", "batch_id", "hold_id", "invoice_id"},
    # Holds go after 400 days; their usage stays.
    "billing_meterreading": {"hold_id"},
    # What it was when the invoice was finalised stands on the line.
    "billing_invoiceline": {"meter_id", "price_id", "project_id", "version_id"},
    # The gateway's own names; a step is about an invoice, a payment or a credit note.
    "billing_payment": {"external_id"},
    "billing_paymentaccount": {"external_id"},
    "billing_collection": {"external_id", "object_id"},
    # A draft's lines are computed: the id stays when they are stored.
    "billing_dispute": {"line_id"},
    # A published price is never removed; the check would lock one row for all tenants.
    "billing_usagerollup": {"price_id", "rate_id"},
    "billing_usageevent": {"batch_id", "hold_id", "meter_id", "price_id", "project_id", "rate_id"},
    "billing_usagekey": {"batch_id"},
    "billing_usageseries": {"attempt_id", "job_id"},
    # Rows that the target's own app may remove by age.
    "compute_allocation": {"hold_id"},
    "compute_job": {"approval_id", "hold_id", "quote_id"},
    "models_app_endpoint": {"allocation_id"},
    "models_app_modelversion": {"attempt_id", "job_id", "project_id"},
    "models_app_servingslice": {"hold_id", "node_id"},
}

POLICIES = """
SELECT polname, polcmd, ARRAY(SELECT CASE role WHEN 0 THEN 'public' ELSE role::regrole::text END FROM unnest(polroles) role ORDER BY 1),
       pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid), polpermissive
FROM pg_policy WHERE polrelid = %s
"""
# A reference is a column named `..._id` that is neither the row's own id nor its tenant.
REFERENCES = """
SELECT a.attname FROM pg_attribute a
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attname LIKE '%%\\_id' AND a.attname <> 'tenant_id'
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'f' AND a.attnum = ANY (k.conkey))
"""


def policy_faults(admin: psycopg.Connection, oid: int, table: str, *, partition: bool) -> list[str]:
    """Return where a table's policies differ from the expected ones."""
    rows = admin.execute(POLICIES, [oid]).fetchall()
    found = {(name, command, tuple(roles), using, check) for name, command, roles, using, check, _ in rows}
    tenant_rows = (*TENANT_ROWS[:2], (*BOTH, OPERATOR), SAME, SAME) if table in OPERATED else TENANT_ROWS
    wanted = OWN.get(table) or {tenant_rows}
    wanted = wanted | ({CONTROL_ROWS} if table in CONTROL else set()) | ({LOOKUP_ROWS} if table in LOOKED_UP else set())
    wanted = wanted | ({GLASS_ROWS} if table in INSIDE or table in NOT_INSIDE else set())
    wanted = wanted | node_policies(table) | serving_policies(table)
    wanted = wanted | ({SERVING_LOOKUPS} if table in LOOKED_UP_SERVING else set())
    if partition and not found:
        return []  # reachable only through its parent
    faults = [f"{table}: policy {policy} is not among those it may have" for policy in sorted(found - wanted, key=str)]
    faults += [f"{table}: policy {policy} is missing" for policy in sorted(wanted - found, key=str)]
    return faults + [f"{table}: policy {row[0]} is restrictive" for row in rows if not row[5]]


def reference_faults(admin: psycopg.Connection, oid: int, table: str) -> list[str]:
    """Return the columns that reference another row without a foreign key."""
    loose = {name for (name,) in admin.execute(REFERENCES, [oid]).fetchall()}
    return [f"{table}: {name} references nothing" for name in sorted(loose - LOOSE.get(table, set()))]


#: SECURITY DEFINER functions, which bypass the policies, with their arguments. Each returns ids only, or creates and
#: drops partitions; one names the people of the open tenant to the console, two return sums of usage and of devices to it, one the idle work of all tenants with ids and amounts alone. Those of
#: runs return to the ops worker alone what the drafts of the tenants that it names are made of.
DEFINERS = frozenset(
    {
        "exchequer_memberships(uuid)",
        "exchequer_tenant_for(uuid,text)",
        "exchequer_api_keys(text)",
        "exchequer_endpoint_keys(bytea[])",
        "exchequer_invitation(bytea)",
        "exchequer_provider_of(text)",
        "exchequer_providers_for(text)",
        "exchequer_scim_tokens(text)",
        "exchequer_people()",
        "exchequer_glass_tenant()",
        "exchequer_job_set_used(uuid,uuid)",
        "exchequer_node_jobs()",
        "exchequer_node_tenant()",
        "exchequer_serving_endpoints()",
        "exchequer_serving_keys(bytea[])",
        "exchequer_serving_now()",
        "exchequer_serving_tenant()",
        "exchequer_why_not_served(uuid,text)",
        "exchequer_destroy_data_keys(uuid)",
        "exchequer_break_glass(bytea,bytea)",
        "billing_budgets_across(date)",
        "billing_changes_of_currency()",
        "billing_prepaid_use(text)",
        "billing_run_contracts(uuid[],date)",
        "billing_run_credits(uuid[])",
        "billing_run_invoices(uuid[],date,date)",
        "billing_run_lines(uuid[],uuid[])",
        "billing_run_sums(uuid[],date[],text[])",
        "billing_sums_of_lines(date[],text[])",
        "billing_sums_of_month(uuid[],date,jsonb)",
        "billing_unbilled_of_month(date,text)",
        "billing_usage_by_day(date,text[])",
        "billing_usage_of_month(date,text[],jsonb,boolean)",
        "billing_ensure_partitions(date,date)",
        "compute_device_capacity(timestamp with time zone,timestamp with time zone)",
        "compute_device_hours(timestamp with time zone,timestamp with time zone)",
        "compute_drop_partitions(text,interval)",
        "compute_end_node(uuid)",
        "compute_ensure_partitions(interval)",
        "compute_idle_work()",
        "compute_join_node(bytea,text,bytea,text)",
        "compute_past_jobs(text,timestamp with time zone,integer)",
        "compute_slots_of(uuid)",
    }
)
#: Those that run as the role that makes and ends the nodes' logins; they name every relation with its schema.
OF_REGISTRAR = frozenset(
    {
        "exchequer_roles.admit_node(uuid,text)",
        "exchequer_roles.admit_serving(uuid,text)",
        "exchequer_roles.end_node(uuid)",
    }
)
OURS = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
RELATIONS = f"""
SELECT c.oid::regclass::text, c.relkind, coalesce(c.reloptions::text LIKE '%security_invoker=true%', false)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname {OURS} AND c.relkind IN ('m', 'v', 'f')
"""
FUNCTIONS = f"""
SELECT p.oid::regprocedure::text, p.proowner::regrole::text, coalesce(p.proconfig, ARRAY[]::text[]),
       EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname {OURS} AND p.prosecdef
"""
STRANGERS = """
SELECT c.oid::regclass::text, CASE g.grantee WHEN 0 THEN 'public' ELSE g.grantee::regrole::text END
FROM pg_class c, aclexplode(c.relacl) g WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  AND g.grantee <> c.relowner
  AND (g.grantee = 0 OR g.grantee NOT IN (
    'exchequer_app'::regrole, 'exchequer_control'::regrole, 'exchequer_operator'::regrole, 'exchequer_glass'::regrole,
    'exchequer_node'::regrole, 'exchequer_serving'::regrole))
"""
CONSOLE = """
SELECT c.relname, array_agg(DISTINCT g.privilege_type) FROM pg_class c, aclexplode(c.relacl) g
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND g.grantee = 'exchequer_operator'::regrole
GROUP BY c.relname
"""
IN_COLUMNS = """
SELECT c.relname, array_agg(a.attname::text) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, aclexplode(a.attacl) g
WHERE c.relnamespace = 'public'::regnamespace AND g.grantee = 'exchequer_operator'::regrole AND g.privilege_type = 'UPDATE'
GROUP BY c.relname
"""


def see_through_faults(admin: psycopg.Connection) -> list[str]:
    """Return what bypasses the policies of tables: views, functions that run as their owner, rights of other roles."""
    faults = [
        f"{name}: a view that reads as its owner"
        if kind == "v"
        else f"{name}: a copy or foreign table, which no policy locks"
        for name, kind, invoker in admin.execute(RELATIONS).fetchall()
        if not invoker
    ]
    found = admin.execute(FUNCTIONS).fetchall()
    faults += [
        f"{name} runs as its owner and is not known" for name, *_ in found if name not in DEFINERS | OF_REGISTRAR
    ]
    for name, owner, settings, public in found:
        makes_logins = name in OF_REGISTRAR
        path = "pg_catalog" if makes_logins else "public"
        if not any(one.replace('"', "") == f"search_path={path}, pg_temp" for one in settings):
            faults.append(f"{name}: its search_path is open")
        if owner != ("exchequer_registrar" if makes_logins else "exchequer_owner"):
            faults.append(f"{name}: it runs as {owner}")
        if public:
            faults.append(f"{name}: everybody may call it")
    faults += [f"{name} is missing" for name in sorted((DEFINERS | OF_REGISTRAR) - {row[0] for row in found})]
    return faults + [f"{table}: {role} has rights on it" for table, role in admin.execute(STRANGERS).fetchall()]


def console_faults(admin: psycopg.Connection) -> list[str]:
    """Return where the console's rights on tables differ from the listed ones."""
    found = {table: set(rights) for table, rights in admin.execute(CONSOLE).fetchall()}
    wanted = OPERATED | PLATFORM
    faults = [
        f"{table}: the console may {sorted(found.get(table, ()))}, expected {sorted(wanted.get(table, ()))}"
        for table in sorted(found.keys() | wanted.keys())
        if found.get(table, set()) != wanted.get(table, set())
    ]
    columns = {table: set(names) for table, names in admin.execute(IN_COLUMNS).fetchall()}
    return faults + ([] if columns == CONSOLE_COLUMNS else [f"the console may write the columns {columns}"])
