"""SQL that gives the nodes' logins what an attempt needs, while it lives on that node, and nothing else."""

from tenants.isolation.rls import node_sql

ROLE = """
DO $role$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'exchequer_node') THEN
    RAISE EXCEPTION 'The role exchequer_node is missing. Run deploy/roles.sql again as an administrator, then migrate.';
  END IF;
END $role$;
"""
# Which node asks follows from the name of the login, which a session cannot change. The transaction that ends an attempt
# still finishes its accounts: so an attempt counts that ended since this transaction began, for at most a minute.
FUNCTIONS = """
CREATE FUNCTION exchequer_node() RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT CASE WHEN session_user ~ '^exchequer_node_[0-9a-f]{32}$' THEN substr(session_user, 16)::uuid END $$;

CREATE FUNCTION exchequer_node_jobs() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT a.job_id FROM compute_attempt a
   WHERE a.tenant_id = nullif(current_setting('app.tenant', true), '')::uuid
     AND (a.state <> 'ended' OR a.ended_at - (exchequer_now() - clock_timestamp())
          >= greatest(transaction_timestamp(), clock_timestamp() - interval '1 minute'))
     AND (a.node_id = exchequer_node() OR EXISTS (
       SELECT FROM compute_attemptmember m WHERE m.tenant_id = a.tenant_id AND m.attempt_id = a.id AND m.node_id = exchequer_node())) $$;

CREATE FUNCTION exchequer_node_tenant() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT t.id FROM (SELECT nullif(current_setting('app.tenant', true), '')::uuid AS id) t
   WHERE EXISTS (SELECT FROM exchequer_node_jobs()) OR EXISTS (
     SELECT FROM compute_allocation a JOIN compute_device d ON d.id = a.device_id
     WHERE a.tenant_id = t.id AND a.state <> 'ended' AND d.node_id = exchequer_node()) $$;

REVOKE ALL ON FUNCTION exchequer_node(), exchequer_node_jobs(), exchequer_node_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION exchequer_node(), exchequer_node_jobs(), exchequer_node_tenant() TO exchequer_node;
GRANT EXECUTE ON FUNCTION exchequer_node() TO exchequer_app, exchequer_control;
"""
# Tables of no tenant: a node reads the fleet, and changes its own row and its own devices.
FLEET = "".join(
    f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
    f"CREATE POLICY platform_rows ON {table} TO exchequer_app, exchequer_control, exchequer_operator, exchequer_glass"
    f" USING (true) WITH CHECK (true);"
    f"CREATE POLICY node_reads ON {table} FOR SELECT TO exchequer_node USING (true);"
    f"CREATE POLICY node_rows ON {table} TO exchequer_node USING ({own}) WITH CHECK ({own});"
    f"GRANT {rights} ON {table} TO exchequer_node;"
    for table, own, rights in (
        (
            "compute_node",
            "id = (SELECT exchequer_node())",
            "SELECT, UPDATE (hostname, boot, accepting, missing_layers, last_seen_at)",
        ),
        (
            "compute_device",
            "node_id = (SELECT exchequer_node())",
            "SELECT, INSERT, UPDATE (kind, device_class, name, index, memory_bytes, serves, state, state_reason, state_at, held)",
        ),
        (
            "compute_devicehold",
            "EXISTS (SELECT FROM compute_device d WHERE d.id = device_id AND d.node_id = (SELECT exchequer_node()))",
            "SELECT, DELETE",
        ),
        (
            "compute_devicepresence",
            "EXISTS (SELECT FROM compute_device d WHERE d.id = device_id AND d.node_id = (SELECT exchequer_node()))",
            "SELECT, INSERT, UPDATE, DELETE",
        ),
    )
)
NO_FLEET = "".join(
    f"DROP POLICY platform_rows ON {table}; DROP POLICY node_reads ON {table}; DROP POLICY node_rows ON {table};"
    f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;"
    for table in ("compute_node", "compute_device", "compute_devicehold", "compute_devicepresence")
)
OF_JOB = "job_id IN (SELECT exchequer_node_jobs())"
COMPUTE = node_sql(
    compute_attempt=(
        "SELECT, UPDATE (claimed_at, ended_at, exit_code, lease_until, measured_s, measured_until, message, missing_layers,"
        " outcome, seq, started_at, startup_s, state)",
        f"{OF_JOB} AND node_id = (SELECT exchequer_node())",
    ),
    compute_attemptmember=("SELECT", ""),
    compute_job=(
        "SELECT, UPDATE (cause, checkpoint, ended_at, hold_id, infrastructure_kills, measured_s, message, not_before,"
        " own_crashes, progress, result, spent, started_at, state)",
        "id IN (SELECT exchequer_node_jobs())",
    ),
    compute_joblog=("SELECT, INSERT", OF_JOB),
    compute_jobmetric=("SELECT, INSERT", OF_JOB),
    compute_devicesample=("SELECT, INSERT", OF_JOB),
    compute_devicehour=("SELECT, INSERT, UPDATE (sampled_s, used_s, peak_memory_bytes, energy_j)", ""),
)
# The end of an attempt weighs the job's earlier ones, wherever they ran.
EARLIER = """
CREATE POLICY node_reads ON compute_attempt FOR SELECT TO exchequer_node
  USING (tenant_id = (SELECT exchequer_node_tenant()) AND job_id IN (SELECT exchequer_node_jobs()));
"""
MONEY = node_sql(
    billing_billingperiod=("SELECT, INSERT (ends_at, id, period, starts_at, tenant_id)", ""),
    billing_budget=("SELECT", ""),
    billing_budgetperiod=("SELECT, INSERT, UPDATE (ceiling, held, spent, unheld)", ""),
    billing_contract=("SELECT", ""),
    billing_hold=("SELECT, UPDATE (amount, released_at, settled, state)", ""),
    billing_holdshare=("SELECT", ""),
    billing_invoice=(
        "SELECT (id, tenant_id, period), INSERT (currency, ends_at, id, period, starts_at, tenant_id)",
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
CREATE POLICY node_rows ON billing_pricebook FOR SELECT TO exchequer_node USING (id IN (
  SELECT c.book_id FROM billing_contract c WHERE c.tenant_id = (SELECT exchequer_node_tenant())));
CREATE POLICY node_rows ON billing_priceversion FOR SELECT TO exchequer_node USING (book_id IN (
  SELECT c.book_id FROM billing_contract c WHERE c.tenant_id = (SELECT exchequer_node_tenant())));
CREATE POLICY node_rows ON billing_price FOR SELECT TO exchequer_node USING (version_id IN (SELECT v.id FROM billing_priceversion v));
GRANT SELECT ON billing_pricebook, billing_priceversion, billing_price, billing_exchangerate TO exchequer_node;
"""
# What its log says is signed as the system; it reads nothing of it. Of people it learns whether the owner of a job still is one.
TENANCY = node_sql(
    tenants_auditentry=("INSERT", "actor_type = 'system'"),
    tenants_audithead=("SELECT, UPDATE (seq, hash)", ""),
    tenants_apikey=(
        "SELECT (id, tenant_id, parent_key_id, membership_id, service_account_id, created_at, expires_at, revoked_at, name, prefix,"
        " scopes, created_by, created_by_id, last_used_at, replaced_by, succeeds, project_id)",
        "",
    ),
    tenants_datakey=("SELECT", ""),
    tenants_grant=("SELECT", ""),
    tenants_group=("SELECT", ""),
    tenants_groupmember=("SELECT", ""),
    tenants_membership=("SELECT", ""),
    tenants_outboxmessage=("SELECT (created_at), INSERT", ""),
    tenants_project=("SELECT", ""),
    tenants_quota=("SELECT, UPDATE (in_use)", ""),
    tenants_quotaceiling=("SELECT", ""),
    tenants_quotareservation=("SELECT, DELETE", ""),
    tenants_role=("SELECT", ""),
)
PEOPLE = """
CREATE POLICY node_rows ON tenants_tenant FOR SELECT TO exchequer_node USING (id = (SELECT exchequer_node_tenant()));
CREATE POLICY node_rows ON tenants_user FOR SELECT TO exchequer_node
  USING (NOT is_operator AND EXISTS (SELECT FROM tenants_membership m WHERE m.user_id = tenants_user.id));
GRANT SELECT ON tenants_tenant, tenants_masterkey, demo_clock TO exchequer_node;
GRANT SELECT (id, is_active, is_operator) ON tenants_user TO exchequer_node;
"""
