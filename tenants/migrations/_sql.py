"""SQL that the first migration runs: the clock, the look-ups before a tenant is known, the append-only log."""

CLOCK = """
CREATE TABLE demo_clock (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), shift interval NOT NULL);
CREATE FUNCTION exchequer_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE AS
$$ SELECT clock_timestamp() + coalesce((SELECT shift FROM demo_clock), interval '0') $$;
REVOKE ALL ON demo_clock FROM PUBLIC;
GRANT SELECT ON demo_clock TO exchequer_app, exchequer_control;
"""

TENANT_TABLE = """
ALTER TABLE tenants_tenant ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants_tenant FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON tenants_tenant TO exchequer_app, exchequer_control
  USING (id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid))
  WITH CHECK (id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid));
CREATE POLICY own_tenants ON tenants_tenant FOR SELECT TO exchequer_app, exchequer_control
  USING (id = ANY ((SELECT nullif(current_setting('app.tenants', true), '')::uuid[])::uuid[]));
CREATE POLICY control_rows ON tenants_tenant TO exchequer_control USING (true) WITH CHECK (true);
REVOKE ALL ON tenants_tenant FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON tenants_tenant TO exchequer_app, exchequer_control;
"""

# Forced policies bind the owner too, so the functions below, which run as the owner, need these to read at all.
# Nothing logs in as the owner but migrations.
LOOKUPS = """
CREATE POLICY lookup_rows ON tenants_tenant FOR SELECT TO exchequer_owner USING (true);
CREATE POLICY lookup_rows ON tenants_membership FOR SELECT TO exchequer_owner USING (true);
CREATE POLICY lookup_rows ON tenants_apikey FOR SELECT TO exchequer_owner USING (true);

CREATE FUNCTION exchequer_memberships(person uuid) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT m.tenant_id FROM tenants_membership m WHERE m.user_id = person $$;

CREATE FUNCTION exchequer_tenant_for(person uuid, short_name text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT t.id FROM tenants_tenant t JOIN tenants_membership m ON m.tenant_id = t.id
   WHERE t.slug = short_name AND m.user_id = person $$;

CREATE FUNCTION exchequer_api_keys(start text) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT k.tenant_id, k.id FROM tenants_apikey k WHERE k.prefix = start AND k.revoked_at IS NULL $$;

REVOKE ALL ON FUNCTION exchequer_memberships(uuid), exchequer_tenant_for(uuid, text), exchequer_api_keys(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION exchequer_memberships(uuid), exchequer_tenant_for(uuid, text), exchequer_api_keys(text)
  TO exchequer_app, exchequer_control;
"""

APPEND_ONLY = """
CREATE FUNCTION exchequer_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation'; END $$;
CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON tenants_auditentry
  FOR EACH ROW EXECUTE FUNCTION exchequer_append_only();
CREATE TRIGGER append_only_table BEFORE TRUNCATE ON tenants_auditentry
  FOR EACH STATEMENT EXECUTE FUNCTION exchequer_append_only();
"""

# Log-in limits are counted in this cache table; see CACHES in the settings.
RATE_LIMIT_TABLE = """
CREATE TABLE tenants_ratelimit (cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL);
CREATE INDEX tenants_ratelimit_expires ON tenants_ratelimit (expires);
REVOKE ALL ON tenants_ratelimit FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenants_ratelimit TO exchequer_app, exchequer_control;
"""

FOREIGN_TABLES = (
    "django_session",
    "account_emailaddress",
    "account_emailconfirmation",
    "tenants_user",
)
READ_ONLY_TABLES = (
    "django_migrations",
    "django_content_type",
    "auth_permission",
    "auth_group",
    "auth_group_permissions",
    "tenants_user_groups",
    "tenants_user_user_permissions",
    "guardian_userobjectpermission",
    "guardian_groupobjectpermission",
)


def foreign_grants() -> str:
    """Return the grants on tables of Django and of libraries, which belong to no tenant."""
    both = "exchequer_app, exchequer_control"
    lines = [
        f"REVOKE ALL ON {table} FROM PUBLIC; GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {both};"
        for table in FOREIGN_TABLES
    ]
    lines += [f"REVOKE ALL ON {table} FROM PUBLIC; GRANT SELECT ON {table} TO {both};" for table in READ_ONLY_TABLES]
    return "\n".join(lines)
