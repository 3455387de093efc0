from django.db import migrations, models

# The console reads what is asked of it, of all tenants, and answers within one. No process of the tenants' side answers
# in its name.
ANSWERS = """
CREATE POLICY operator_rows ON tenants_approval FOR SELECT TO exchequer_operator USING (side = 'operators');
CREATE POLICY operator_answers ON tenants_approval FOR UPDATE TO exchequer_operator
  USING (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid) AND side = 'operators')
  WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid) AND side = 'operators');
GRANT SELECT ON tenants_approval TO exchequer_operator;
GRANT UPDATE (state, answered_by, answered_by_label, answered_at, answer_reason) ON tenants_approval TO exchequer_operator;

CREATE OR REPLACE FUNCTION tenants_approval_stays_answered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'open' THEN
        RAISE EXCEPTION 'approval % is %', OLD.id, OLD.state USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.side = 'operators' AND NEW.state <> OLD.state AND NOT pg_has_role(current_user, 'exchequer_operator', 'USAGE')
       OR NEW.side <> OLD.side THEN
        RAISE EXCEPTION 'approval % is answered by operators', OLD.id USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;

ALTER POLICY operator_rows ON tenants_outboxmessage
  USING (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid)
         AND topic IN ('tenants.TenantCreated', 'tenants.OwnerAwaited', 'tenants.StandingChanged', 'tenants.GlassBroken',
                       'tenants.ApprovalAnswered'))
  WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid)
              AND topic IN ('tenants.TenantCreated', 'tenants.OwnerAwaited', 'tenants.StandingChanged', 'tenants.GlassBroken',
                            'tenants.ApprovalAnswered'));
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0029_erasure"),
    ]

    operations = [
        migrations.AddField(
            model_name="quotaceiling",
            name="raised_to",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="quotaceiling",
            name="raised_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name="approval",
            index=models.Index(condition=models.Q(("side", "operators")), fields=["-id"], name="approval_of_operators"),
        ),
        migrations.AddIndex(
            model_name="approval",
            index=models.Index(
                condition=models.Q(("side", "operators"), ("state", "open")),
                fields=["-id"],
                name="approval_operators_wait",
            ),
        ),
        migrations.AddConstraint(
            model_name="quotaceiling",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("raised_to__isnull", True), ("raised_until__isnull", True)),
                    models.Q(("limit__isnull", False), ("raised_to__isnull", False), ("raised_until__isnull", False)),
                    _connector="OR",
                ),
                name="quota_ceiling_raise_has_an_end",
            ),
        ),
        migrations.RunSQL(ANSWERS),
    ]
