import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
from tenants.isolation import rls

ROLE = """
DO $role$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'exchequer_glass') THEN
    RAISE EXCEPTION 'The role exchequer_glass is missing. Run deploy/roles.sql again as an administrator, then migrate.';
  END IF;
END $role$;
"""
# The tenant of the look that this transaction's session opened, while it lasts and its tenant is entered. Each policy of
# the role asks it, once a statement: so the database ends the look, not the page.
LOOK = """
CREATE POLICY lookup_rows ON tenants_breakglass FOR SELECT TO exchequer_owner USING (true);
CREATE POLICY tickets ON tenants_breakglass FOR UPDATE TO exchequer_owner USING (true);
CREATE POLICY operator_rows ON tenants_breakglass FOR SELECT TO exchequer_operator USING (true);
GRANT INSERT ON tenants_breakglass TO exchequer_operator;
GRANT UPDATE (answered_by, answered_label, answered_at, ends_at, ended_at, ended_label, ticket_hash, ticket_ends_at)
  ON tenants_breakglass TO exchequer_operator;

CREATE FUNCTION exchequer_glass_tenant() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT g.tenant_id FROM tenants_breakglass g
   WHERE g.session_hash = decode(nullif(current_setting('app.glass', true), ''), 'hex')
     AND g.ended_at IS NULL AND g.ends_at > exchequer_now() $$;

-- A ticket opens one session; the session of an earlier ticket ends with it.
CREATE FUNCTION exchequer_break_glass(ticket bytea, session bytea) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ UPDATE tenants_breakglass g SET ticket_hash = NULL, ticket_ends_at = NULL, session_hash = session,
     entered_at = coalesce(g.entered_at, exchequer_now())
   WHERE g.ticket_hash = ticket AND g.ticket_ends_at > exchequer_now() AND g.ended_at IS NULL AND g.ends_at > exchequer_now()
   RETURNING g.tenant_id, g.id $$;

REVOKE ALL ON FUNCTION exchequer_glass_tenant(), exchequer_break_glass(bytea, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION exchequer_glass_tenant() TO exchequer_app, exchequer_glass;
GRANT EXECUTE ON FUNCTION exchequer_break_glass(bytea, bytea) TO exchequer_app;

-- With the rights of the caller: finds the look, enters its tenant, and steps down to the role that reads alone.
CREATE FUNCTION exchequer_enter_glass(session text, short_name text)
RETURNS TABLE (tenant jsonb, look uuid, ends_at timestamptz) LANGUAGE plpgsql VOLATILE AS
$$ DECLARE organisation uuid;
BEGIN
  PERFORM set_config('app.glass', session, true);
  organisation := exchequer_glass_tenant();
  IF organisation IS NULL THEN RETURN; END IF;
  PERFORM set_config('app.tenant', organisation::text, true);
  RETURN QUERY SELECT to_jsonb(t), g.id, g.ends_at FROM tenants_tenant t
    JOIN tenants_breakglass g ON g.tenant_id = t.id AND g.session_hash = decode(session, 'hex')
    WHERE t.id = organisation AND t.slug = short_name;
  IF NOT FOUND THEN PERFORM set_config('app.tenant', '', true); RETURN; END IF;
  PERFORM set_config('transaction_read_only', 'on', true);
  PERFORM set_config('role', 'exchequer_glass', true);
END $$;
REVOKE ALL ON FUNCTION exchequer_enter_glass(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION exchequer_enter_glass(text, text) TO exchequer_app;
"""
# Neither money nor keys, secrets, the audit log or the operators' own reasons; of people their name and address.
PEOPLE = """
CREATE POLICY glass_rows ON tenants_tenant FOR SELECT TO exchequer_glass USING (id = (SELECT exchequer_glass_tenant()));
GRANT SELECT ON tenants_tenant, demo_clock TO exchequer_glass;
CREATE POLICY glass_rows ON tenants_user FOR SELECT TO exchequer_glass
  USING (NOT is_operator AND EXISTS (SELECT FROM tenants_membership m WHERE m.user_id = tenants_user.id));
GRANT SELECT (id, email, name, is_active, is_operator, is_superuser, provider_only, theme, single_keys, created_at, last_login)
  ON tenants_user TO exchequer_glass;
"""
READ = rls.glass_sql(
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
)
# What the console's acts lead to, one more event. And no process of the tenants' side makes a tenant: operators do, and
# commands on the machine.
SIDES = """
ALTER POLICY operator_rows ON tenants_outboxmessage
  USING (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid)
         AND topic IN ('tenants.TenantCreated', 'tenants.OwnerAwaited', 'tenants.StandingChanged', 'tenants.GlassBroken'))
  WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid)
              AND topic IN ('tenants.TenantCreated', 'tenants.OwnerAwaited', 'tenants.StandingChanged', 'tenants.GlassBroken'));
REVOKE INSERT ON tenants_tenant FROM exchequer_app;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0026_domains_are_read_again"),
    ]

    operations = [
        migrations.RunSQL(ROLE),
        migrations.CreateModel(
            name="BreakGlass",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("operator", models.UUIDField(editable=False)),
                ("operator_label", models.CharField(max_length=254)),
                ("reason", models.CharField(max_length=400)),
                ("minutes", models.PositiveSmallIntegerField()),
                ("needs_second", models.BooleanField()),
                ("asked_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("answered_by", models.UUIDField(null=True)),
                ("answered_label", models.CharField(blank=True, default="", max_length=254)),
                ("answered_at", models.DateTimeField(null=True)),
                ("ends_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("ended_label", models.CharField(blank=True, default="", max_length=254)),
                ("ticket_hash", models.BinaryField(null=True)),
                ("ticket_ends_at", models.DateTimeField(null=True)),
                ("session_hash", models.BinaryField(null=True)),
                ("entered_at", models.DateTimeField(null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(fields=["tenant", "-id"], name="break_glass_newest"),
                    models.Index(
                        condition=models.Q(("ticket_hash__isnull", False)),
                        fields=["ticket_hash"],
                        name="break_glass_ticket",
                    ),
                    models.Index(
                        condition=models.Q(("session_hash__isnull", False)),
                        fields=["session_hash"],
                        name="break_glass_session",
                    ),
                    models.Index(condition=models.Q(("ended_at", None)), fields=["-id"], name="break_glass_open"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("minutes__gte", 1), ("minutes__lte", 240)), name="break_glass_is_short"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("answered_by", None),
                            models.Q(("answered_by", models.F("operator")), _negated=True),
                            _connector="OR",
                        ),
                        name="break_glass_second_operator",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ends_at", None), ("needs_second", False), ("answered_by__isnull", False), _connector="OR"
                        ),
                        name="break_glass_answered_first",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("needs_second", True), ("minutes__lte", 30), _connector="OR"),
                        name="break_glass_alone_is_shorter",
                    ),
                ],
            },
        ),
        rls.SecureTable("BreakGlass", app="SELECT", control_grants="SELECT", operator="SELECT"),
        migrations.RunSQL(LOOK + PEOPLE + READ + SIDES),
    ]
