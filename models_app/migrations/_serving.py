"""SQL that gives the serving nodes' logins what an endpoint needs, while it is served there, and nothing else."""

from tenants.isolation.rls import TENANT, node_sql, serving_sql

ROLE = """
DO $role$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'exchequer_serving') THEN
    RAISE EXCEPTION 'The role exchequer_serving is missing. Run deploy/roles.sql again as an administrator, then migrate.';
  END IF;
END $role$;
"""
# Read by functions that run as the owner, within one tenant: what a key's creator may do, and which endpoints are served.
LOOKUPS = "".join(
    f"CREATE POLICY serving_lookups ON {table} FOR SELECT TO exchequer_owner USING (tenant_id = {TENANT});"
    for table in (
        "models_app_endpoint",
        "models_app_servingslice",
        "tenants_grant",
        "tenants_groupmember",
        "tenants_project",
        "tenants_role",
        "tenants_serviceaccount",
    )
)
# Which node asks follows from the name of its login (`exchequer_node`). What it answered for an endpoint that has moved
# is settled later: so an endpoint counts for a week after money was last taken for it. The transaction that ends a slot
# finishes its accounts.
FUNCTIONS = """
CREATE FUNCTION exchequer_serving_now() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT e.id FROM compute_allocation a JOIN models_app_endpoint e ON e.tenant_id = a.tenant_id AND e.allocation_id = a.id
   WHERE a.tenant_id = nullif(current_setting('app.tenant', true), '')::uuid AND a.node_id = exchequer_node()
     AND (a.state = 'live' OR a.ended_at - (exchequer_now() - clock_timestamp())
          >= greatest(transaction_timestamp(), clock_timestamp() - interval '1 minute')) $$;

CREATE FUNCTION exchequer_serving_endpoints() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT exchequer_serving_now()
   UNION SELECT s.endpoint_id FROM models_app_servingslice s
   WHERE s.tenant_id = nullif(current_setting('app.tenant', true), '')::uuid AND s.node_id = exchequer_node()
     AND s.opened_at > exchequer_now() - interval '7 days' $$;

CREATE FUNCTION exchequer_serving_tenant() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT t.id FROM (SELECT nullif(current_setting('app.tenant', true), '')::uuid AS id) t
   WHERE EXISTS (SELECT FROM exchequer_serving_endpoints()) $$;

-- Why a key's endpoint is not served, in any tenant: the key was shown, and a word is all that is said.
CREATE FUNCTION exchequer_why_not_served(endpoint uuid, unpaid text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT CASE
     WHEN t.standing <> 'active' THEN 'suspended'
     WHEN e.state = 'stopped' AND e.cause = 'refused' THEN 'refused'
     WHEN e.state <> 'undeployed' AND (e.cause = 'budget' OR (
       SELECT a.state = 'ended' AND a.reason = unpaid FROM compute_allocation a
       WHERE a.tenant_id = t.id AND a.subject = 'endpoint:' || e.id ORDER BY a.id DESC LIMIT 1)) THEN 'budget'
     ELSE '' END
   FROM tenants_tenant t LEFT JOIN models_app_endpoint e ON e.tenant_id = t.id AND e.id = endpoint
   WHERE t.id = nullif(current_setting('app.tenant', true), '')::uuid $$;

ALTER FUNCTION exchequer_serving_keys(bytea[]) SECURITY DEFINER;
ALTER FUNCTION exchequer_serving_keys(bytea[]) SET search_path = public, pg_temp;
CREATE OR REPLACE FUNCTION compute_slots_of(place uuid) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT a.tenant_id, a.id FROM compute_allocation a
   WHERE a.node_id = place AND a.node_id = coalesce(exchequer_node(), a.node_id) AND a.state = 'live' $$;

REVOKE ALL ON FUNCTION exchequer_serving_now(), exchequer_serving_endpoints(), exchequer_serving_tenant(), exchequer_why_not_served(uuid, text)
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION exchequer_node(), exchequer_serving_now(), exchequer_serving_endpoints(), exchequer_serving_tenant(),
  exchequer_why_not_served(uuid, text), exchequer_serving_keys(bytea[]), compute_slots_of(uuid) TO exchequer_serving;
GRANT EXECUTE ON FUNCTION exchequer_why_not_served(uuid, text) TO exchequer_app, exchequer_control;
"""
OWN_DEVICE = "EXISTS (SELECT FROM compute_device d WHERE d.id = device_id AND d.node_id = (SELECT exchequer_node()))"
# Tables of no tenant: of the fleet it sees and changes its own row and its own slots.
FLEET = "".join(
    f"CREATE POLICY serving_rows ON {table} TO exchequer_serving USING ({own}) WITH CHECK ({own});"
    f"GRANT {rights} ON {table} TO exchequer_serving;"
    for table, own, rights in (
        (
            "compute_node",
            "id = (SELECT exchequer_node())",
            "SELECT, UPDATE (accepting, boot, hostname, last_seen_at, missing_layers, release)",
        ),
        (
            "compute_device",
            "node_id = (SELECT exchequer_node())",
            "SELECT, INSERT, UPDATE (cordoned_for, device_class, held, index, kind, link, memory_bytes, name, serves, state, state_at,"
            " state_reason)",
        ),
        ("compute_devicehold", OWN_DEVICE, "SELECT, DELETE"),
        ("compute_devicepresence", OWN_DEVICE, "SELECT, INSERT, UPDATE, DELETE"),
    )
)
HERE = "endpoint_id IN (SELECT exchequer_serving_endpoints())"
SERVED = serving_sql(
    compute_allocation=(
        "SELECT, UPDATE (billed_until, boot, ended_at, hold_id, lease_until, reason, settle_at, state)",
        "node_id = (SELECT exchequer_node())",
    ),
    models_app_endpoint=("SELECT, UPDATE (message, state)", "id IN (SELECT exchequer_serving_endpoints())"),
    models_app_endpointkey=("SELECT (endpoint_id, expires_at, id, requests_per_minute, revoked_at, tenant_id)", HERE),
    models_app_feedback=("SELECT (correct, endpoint_id, error, id, predicted_at, tenant_id, version_id)", HERE),
    models_app_healthalert=("SELECT, INSERT, UPDATE (resolved_at)", HERE),
    models_app_healthwindow=(
        "SELECT, INSERT, UPDATE (compute_ms, errors, inputs, latency, outputs, requests, rows)",
        HERE,
    ),
    models_app_model=("SELECT", "id IN (SELECT v.model_id FROM models_app_modelversion v)"),
    models_app_modelversion=("SELECT", "id IN (SELECT e.version_id FROM models_app_endpoint e)"),
)
# Money is taken for what is served now, by nobody else's name; what was taken before may be closed.
SLICES = """
CREATE POLICY serving_reads ON models_app_servingslice FOR SELECT TO exchequer_serving
  USING (tenant_id = (SELECT exchequer_serving_tenant()) AND node_id = (SELECT exchequer_node()));
CREATE POLICY serving_closes ON models_app_servingslice FOR UPDATE TO exchequer_serving
  USING (tenant_id = (SELECT exchequer_serving_tenant()) AND node_id = (SELECT exchequer_node()));
CREATE POLICY serving_takes ON models_app_servingslice FOR INSERT TO exchequer_serving
  WITH CHECK (tenant_id = (SELECT exchequer_serving_tenant()) AND node_id = (SELECT exchequer_node())
    AND endpoint_id IN (SELECT exchequer_serving_now()) AND opened_at <= exchequer_now());
GRANT SELECT, INSERT, UPDATE (closed_at, hold_id) ON models_app_servingslice TO exchequer_serving;
"""
MONEY = serving_sql(
    billing_billingperiod=("SELECT, INSERT (ends_at, id, period, starts_at, tenant_id)", ""),
    billing_budget=("SELECT", ""),
    billing_budgetperiod=("SELECT, INSERT, UPDATE (ceiling, held, spent, unheld)", ""),
    billing_contract=("SELECT", ""),
    billing_hold=("SELECT, INSERT, UPDATE (amount, released_at, settled, state)", ""),
    billing_holdshare=("SELECT, INSERT", ""),
    billing_invoice=(
        "SELECT (id, period, tenant_id), INSERT (currency, ends_at, id, period, starts_at, tenant_id)",
        "",
    ),
    billing_ledgerposting=("SELECT, INSERT", ""),
    billing_ledgershare=("SELECT, INSERT", ""),
    billing_ledgertransaction=("SELECT, INSERT", ""),
    billing_meter=("SELECT", ""),
    billing_usageevent=(
        "SELECT, INSERT (amount, batch_id, billable, day, discount, ended_at, hold_id, key_hash, kind, measured, meter_id, part, period,"
        " price_id, project_id, rate_id, recorded_at, series_hash, started_at, tenant_id)",
        "",
    ),
    billing_usagekey=("SELECT, INSERT", ""),
    billing_usagerollup=("SELECT, INSERT, UPDATE", ""),
    billing_usageseries=("SELECT, INSERT", ""),
    billing_wallet=("SELECT, UPDATE (held, spent)", ""),
)
BOOKS = """
CREATE POLICY serving_rows ON billing_pricebook FOR SELECT TO exchequer_serving USING (id IN (
  SELECT c.book_id FROM billing_contract c WHERE c.tenant_id = (SELECT exchequer_serving_tenant())));
CREATE POLICY serving_rows ON billing_priceversion FOR SELECT TO exchequer_serving USING (book_id IN (
  SELECT c.book_id FROM billing_contract c WHERE c.tenant_id = (SELECT exchequer_serving_tenant())));
CREATE POLICY serving_rows ON billing_price FOR SELECT TO exchequer_serving USING (version_id IN (SELECT v.id FROM billing_priceversion v));
GRANT SELECT ON billing_pricebook, billing_priceversion, billing_price, billing_exchangerate TO exchequer_serving;
"""
# What its log says is signed as the system; it reads nothing of it. Of people it learns which id has which key, to count a
# budget of theirs.
TENANCY = serving_sql(
    tenants_apikey=("SELECT (id, membership_id, tenant_id)", ""),
    tenants_auditentry=("INSERT", "actor_type = 'system'"),
    tenants_audithead=("SELECT, UPDATE (hash, seq)", ""),
    tenants_membership=("SELECT (id, tenant_id, user_id)", ""),
    tenants_outboxmessage=("SELECT (created_at), INSERT", ""),
    tenants_project=("SELECT", ""),
    tenants_quota=("SELECT, UPDATE (in_use)", ""),
    tenants_quotareservation=("SELECT, DELETE", ""),
)
PLATFORM = """
CREATE POLICY serving_rows ON tenants_tenant FOR SELECT TO exchequer_serving USING (id = (SELECT exchequer_serving_tenant()));
GRANT SELECT ON tenants_tenant, demo_clock TO exchequer_serving;
"""
# A prepaid wallet covers what its credit does after tax; whoever settles work weighs it, nodes too.
CREDIT = node_sql(billing_creditblock=("SELECT", "")) + serving_sql(billing_creditblock=("SELECT", ""))
PREPAID = """
CREATE FUNCTION billing_unbilled_of_month(month date, paid_in text) RETURNS numeric
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT coalesce(sum(s.amount), 0) FROM billing_invoice i CROSS JOIN LATERAL billing_sums_of_lines(ARRAY[i.period], '{}') s
   WHERE i.tenant_id = nullif(current_setting('app.tenant', true), '')::uuid AND i.currency = paid_in AND i.kind = 'period'
     AND i.state IN ('draft', 'in_review') AND i.period = month
     AND (exchequer_node() IS NULL OR exchequer_node_tenant() IS NOT NULL OR exchequer_serving_tenant() IS NOT NULL) $$;
REVOKE ALL ON FUNCTION billing_unbilled_of_month(date, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing_unbilled_of_month(date, text)
  TO exchequer_app, exchequer_control, exchequer_operator, exchequer_node, exchequer_serving;
GRANT SELECT ON billing_taxrate TO exchequer_node, exchequer_serving;
GRANT SELECT (country, only_row) ON billing_seller TO exchequer_node, exchequer_serving;
"""
SQL = (ROLE, LOOKUPS, FUNCTIONS, FLEET, SERVED, SLICES, MONEY, BOOKS, TENANCY, PLATFORM, CREDIT, PREPAID)
