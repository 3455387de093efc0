import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import tenants.clock
import tenants.ids
from tenants.isolation import rls

# What is operators' and what is people's is decided once, when the account is made. The triggers that kept the web role
# from operators' rows are not needed any more: it does not see them.
SIDES = """
DROP TRIGGER only_control_makes_operators ON tenants_user;
DROP TRIGGER only_control_changes_operators ON tenants_user;
DROP FUNCTION tenants_only_control_makes_operators(), tenants_only_control_changes_operators(), tenants_guards_operators();
"""
# Who was an operator and a member of an organisation is both, with one password, from now on in two accounts. Today's
# operators could do all that an operator can.
SPLIT = """
WITH split AS (
  UPDATE tenants_user u SET is_operator = false
  WHERE u.is_operator AND EXISTS (SELECT FROM tenants_membership m WHERE m.user_id = u.id) RETURNING u.*
)
INSERT INTO tenants_user (id, email, password, name, theme, single_keys, is_operator, is_active, is_superuser, created_at)
SELECT gen_random_uuid(), email, password, name, theme, single_keys, true, is_active, false, exchequer_now() FROM split;
INSERT INTO tenants_operatorgrant (id, user_id, role)
SELECT gen_random_uuid(), u.id, r.role FROM tenants_user u, (VALUES ('platform_admin'), ('platform_finance')) AS r (role)
WHERE u.is_operator;
DELETE FROM tenants_session s USING tenants_user u WHERE u.id = s.user_id AND u.is_operator;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
"""
# Row security shows each side its own accounts; `mfa_authenticator` follows, because its policy reads them as the caller.
ACCOUNTS = """
CREATE FUNCTION tenants_a_side_is_for_ever() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'an account stays on its side' USING ERRCODE = 'restrict_violation'; END $$;
CREATE TRIGGER a_side_is_for_ever BEFORE UPDATE ON tenants_user FOR EACH ROW
  WHEN (OLD.is_operator IS DISTINCT FROM NEW.is_operator) EXECUTE FUNCTION tenants_a_side_is_for_ever();

ALTER TABLE tenants_user ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants_user FORCE ROW LEVEL SECURITY;
CREATE POLICY people ON tenants_user TO exchequer_app USING (NOT is_operator) WITH CHECK (NOT is_operator);
CREATE POLICY operators ON tenants_user TO exchequer_operator USING (is_operator) WITH CHECK (is_operator);
CREATE POLICY control_rows ON tenants_user TO exchequer_control USING (true) WITH CHECK (true);
CREATE POLICY lookup_rows ON tenants_user FOR SELECT TO exchequer_owner USING (true);
GRANT SELECT, UPDATE ON tenants_user TO exchequer_operator;
GRANT SELECT ON account_emailaddress TO exchequer_operator;

ALTER TABLE mfa_authenticator ENABLE ROW LEVEL SECURITY;
ALTER TABLE mfa_authenticator FORCE ROW LEVEL SECURITY;
CREATE POLICY own_side ON mfa_authenticator TO exchequer_app, exchequer_operator
  USING (EXISTS (SELECT FROM tenants_user u WHERE u.id = user_id))
  WITH CHECK (EXISTS (SELECT FROM tenants_user u WHERE u.id = user_id));
CREATE POLICY control_rows ON mfa_authenticator TO exchequer_control USING (true) WITH CHECK (true);
REVOKE ALL ON mfa_authenticator FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON mfa_authenticator TO exchequer_app, exchequer_operator;
GRANT SELECT, DELETE ON mfa_authenticator TO exchequer_control;
"""
# The console reads these of every tenant; it writes a tenant's rows only within `app.tenant`.
PLATFORM = """
DROP POLICY operator_rows ON tenants_tenantdigest;
CREATE POLICY operator_rows ON tenants_tenantdigest FOR SELECT TO exchequer_operator USING (true);
REVOKE ALL ON tenants_tenantdigest FROM exchequer_app;
CREATE POLICY operator_makes ON tenants_tenantdigest FOR INSERT TO exchequer_operator
  WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid));
GRANT SELECT, INSERT ON tenants_tenantdigest TO exchequer_operator;
DROP POLICY operator_rows ON tenants_operatoract;
CREATE POLICY operator_rows ON tenants_operatoract TO exchequer_operator USING (true) WITH CHECK (true);
REVOKE ALL ON tenants_operatoract FROM exchequer_app;
GRANT SELECT, INSERT ON tenants_operatoract TO exchequer_operator;

-- Of a tenant's log the console reads and writes what operators did.
CREATE POLICY operator_rows ON tenants_auditentry TO exchequer_operator
  USING (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid)
         AND actor_type = 'system' AND actor_label = 'operator')
  WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid)
              AND actor_type = 'system' AND actor_label = 'operator');
GRANT SELECT, INSERT ON tenants_auditentry TO exchequer_operator;

ALTER POLICY tenant_rows ON tenants_tenant TO exchequer_app, exchequer_control, exchequer_operator;
CREATE POLICY operator_rows ON tenants_tenant FOR SELECT TO exchequer_operator USING (true);
GRANT SELECT, INSERT, UPDATE ON tenants_tenant TO exchequer_operator;
REVOKE UPDATE ON tenants_tenant FROM exchequer_app;
GRANT UPDATE (name, timezone, self_approval) ON tenants_tenant TO exchequer_app;

GRANT SELECT ON demo_clock, django_migrations, django_content_type TO exchequer_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenants_ratelimit TO exchequer_operator;
"""
WITHIN_A_TENANT = {
    "tenants_audithead": "SELECT, INSERT, UPDATE",
    "tenants_grant": "SELECT",
    "tenants_invitation": "SELECT",
    "tenants_membership": "SELECT",
    "tenants_outboxmessage": "SELECT, INSERT",
    "tenants_project": "SELECT",
    "tenants_quota": "SELECT",
    "tenants_quotaceiling": "SELECT, INSERT, UPDATE",
    "tenants_role": "SELECT",
}
# Names and addresses of a tenant's people, without what else their account holds.
PEOPLE = """
CREATE FUNCTION exchequer_people() RETURNS TABLE (user_id uuid, email text, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT u.id, u.email::text, u.name::text FROM tenants_membership m JOIN tenants_user u ON u.id = m.user_id
   WHERE m.tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid) $$;
REVOKE ALL ON FUNCTION exchequer_people() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION exchequer_people() TO exchequer_operator;
"""


def within_a_tenant() -> str:
    """Return the statements that open tables to the console within one tenant."""
    return "".join(
        f"ALTER POLICY tenant_rows ON {table} TO exchequer_app, exchequer_control, exchequer_operator;"
        f"GRANT {rights} ON {table} TO exchequer_operator;"
        for table, rights in WITHIN_A_TENANT.items()
    )


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0012_quotas_have_scopes"),
        ("mfa", "0003_authenticator_type_uniq"),
        ("account", "0009_emailaddress_unique_primary_email"),
    ]

    operations = [
        migrations.RunSQL(SIDES),
        migrations.CreateModel(
            name="OperatorGrant",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("platform_admin", "platform_admin"),
                            ("platform_finance", "platform_finance"),
                            ("platform_support", "platform_support"),
                        ],
                        max_length=20,
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
        ),
        migrations.CreateModel(
            name="OperatorKey",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=120)),
                ("prefix", models.CharField(max_length=12)),
                ("key_hash", models.BinaryField()),
                (
                    "roles",
                    django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=20), size=None),
                ),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("expires_at", models.DateTimeField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
                ("last_used_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="OperatorSession",
            fields=[
                (
                    "session_key",
                    models.CharField(max_length=40, primary_key=True, serialize=False, verbose_name="session key"),
                ),
                ("session_data", models.TextField(verbose_name="session data")),
                ("expire_date", models.DateTimeField(db_index=True, verbose_name="expire date")),
                ("user_id", models.UUIDField(null=True)),
                ("ip", models.CharField(blank=True, max_length=45)),
                ("user_agent", models.CharField(blank=True, max_length=254)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
            options={
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
                "abstract": False,
            },
        ),
        migrations.AddField(
            model_name="tenant",
            name="closes_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="tenant",
            name="standing",
            field=models.CharField(
                choices=[
                    ("active", "active"),
                    ("suspended", "suspended"),
                    ("closing", "closing"),
                    ("closed", "closed"),
                ],
                default="active",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="tenant",
            name="standing_reason",
            field=models.TextField(blank=True, default=""),
        ),
        migrations.AlterField(
            model_name="user",
            name="email",
            field=models.EmailField(max_length=254),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(("standing__in", ("active", "suspended", "closing", "closed"))),
                name="tenant_standing_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(("closes_at", None), ("standing__in", ("closing", "closed")), _connector="OR"),
                name="tenant_closes_when_closing",
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(fields=("email", "is_operator"), name="user_email_once"),
        ),
        migrations.AddField(
            model_name="operatorgrant",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="operatorkey",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddIndex(
            model_name="operatorsession",
            index=models.Index(fields=["user_id"], name="operator_session_user"),
        ),
        migrations.AddConstraint(
            model_name="operatorgrant",
            constraint=models.UniqueConstraint(fields=("user", "role"), name="operator_grant_once"),
        ),
        migrations.AddConstraint(
            model_name="operatorgrant",
            constraint=models.CheckConstraint(
                condition=models.Q(("role__in", ["platform_admin", "platform_finance", "platform_support"])),
                name="operator_role_known",
            ),
        ),
        migrations.AddIndex(
            model_name="operatorkey",
            index=models.Index(fields=["prefix"], name="operator_key_prefix"),
        ),
        rls.GrantTable("OperatorGrant", control="SELECT, INSERT, DELETE", operator="SELECT"),
        rls.GrantTable("OperatorKey", control="SELECT, INSERT, DELETE", operator="SELECT, INSERT, UPDATE"),
        rls.GrantTable("OperatorSession", control="SELECT, DELETE", operator=rls.ALL),
        migrations.RunSQL(SPLIT),
        migrations.RunSQL(ACCOUNTS + PLATFORM + within_a_tenant() + PEOPLE),
    ]
