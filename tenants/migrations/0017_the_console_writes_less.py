from django.db import migrations, models

# The console publishes what its own acts lead to, and sees no other event.
EVENTS = """
ALTER POLICY tenant_rows ON tenants_outboxmessage TO exchequer_app, exchequer_control;
CREATE POLICY operator_rows ON tenants_outboxmessage TO exchequer_operator
  USING (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid)
         AND topic IN ('tenants.TenantCreated', 'tenants.OwnerAwaited', 'tenants.StandingChanged'))
  WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid)
              AND topic IN ('tenants.TenantCreated', 'tenants.OwnerAwaited', 'tenants.StandingChanged'));
"""
# Of a tenant it changes the standing alone, of an operator what they choose themselves, of a key its end and its use.
COLUMNS = """
REVOKE UPDATE ON tenants_tenant, tenants_user, tenants_operatorkey FROM exchequer_operator;
GRANT UPDATE (standing, standing_before, standing_reason, closes_at) ON tenants_tenant TO exchequer_operator;
GRANT UPDATE (password, last_login, name, theme, single_keys) ON tenants_user TO exchequer_operator;
GRANT UPDATE (revoked_at, last_used_at) ON tenants_operatorkey TO exchequer_operator;
"""
# Each side counts its own log-ins: nobody resets, or uses up, the other's.
COUNTERS = """
ALTER TABLE tenants_ratelimit ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants_ratelimit FORCE ROW LEVEL SECURITY;
CREATE POLICY people ON tenants_ratelimit TO exchequer_app
  USING (NOT starts_with(cache_key, 'operator:')) WITH CHECK (NOT starts_with(cache_key, 'operator:'));
CREATE POLICY operators ON tenants_ratelimit TO exchequer_operator
  USING (starts_with(cache_key, 'operator:')) WITH CHECK (starts_with(cache_key, 'operator:'));
CREATE POLICY control_rows ON tenants_ratelimit TO exchequer_control USING (true) WITH CHECK (true);
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0016_audit_version_2")]

    operations = [
        migrations.AddField("tenant", "standing_before", models.CharField(blank=True, default="", max_length=10)),
        migrations.RunSQL(EVENTS + COLUMNS + COUNTERS, migrations.RunSQL.noop),
    ]
