"""Budgets of people, quarters and years; holds for outside work, which end by themselves."""

from django.db import migrations, models

READ = ("tenants_membership", "tenants_apikey", "billing_hold", "billing_usagebatch")
OPEN, CLOSE = (
    "".join(f"ALTER TABLE {table} {word} ROW LEVEL SECURITY;" for table in READ) for word in ("NO FORCE", "FORCE")
)
PEOPLE = """
  SELECT tenant_id, user_id AS asker, user_id FROM tenants_membership
  UNION SELECT k.tenant_id, k.id, m.user_id FROM tenants_apikey k JOIN tenants_membership m ON m.id = k.membership_id
"""
BACKFILL = f"""
{OPEN}
UPDATE billing_hold h SET person = p.user_id FROM ({PEOPLE}) p WHERE p.tenant_id = h.tenant_id AND p.asker = h.placed_by_id;
UPDATE billing_usagebatch b SET person = p.user_id FROM ({PEOPLE}) p WHERE p.tenant_id = b.tenant_id AND p.asker = b.sender_id;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
{CLOSE}
"""  # noqa: S608 (constants)
# The sweep finds holds that are over before it knows the tenant.
SWEEP = "CREATE POLICY control_rows ON billing_hold TO exchequer_control USING (true) WITH CHECK (true)"


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0022_payment_methods_are_saved"),
        ("tenants", "0041_leavers_ask_nobody"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="budget",
            name="budget_once_per_scope",
        ),
        migrations.RemoveConstraint(
            model_name="budget",
            name="budget_has_one_scope",
        ),
        migrations.AddField(
            model_name="budget",
            name="person",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="hold",
            name="dims",
            field=models.JSONField(db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="hold",
            name="expires_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="hold",
            name="meter",
            field=models.CharField(blank=True, db_default="", default="", max_length=60),
        ),
        migrations.AddField(
            model_name="hold",
            name="person",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="hold",
            name="quantity",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="usagebatch",
            name="person",
            field=models.UUIDField(null=True),
        ),
        migrations.AlterField(
            model_name="budget",
            name="period",
            field=models.CharField(
                choices=[("month", "Month"), ("quarter", "Quarter"), ("year", "Year")], default="month", max_length=7
            ),
        ),
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(
                condition=models.Q(("expires_at__isnull", False), ("state", "open")),
                fields=["expires_at"],
                name="hold_expiry",
            ),
        ),
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(
                condition=models.Q(("expires_at__isnull", False)), fields=["tenant", "-id"], name="hold_outside"
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.UniqueConstraint(
                condition=models.Q(("closed_at__isnull", True)),
                fields=("tenant", "project", "tag_key", "tag_value", "person", "period", "currency"),
                name="budget_once_per_scope",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("person__isnull", True), ("project__isnull", True)),
                    models.Q(("person__isnull", True), ("tag_key", "")),
                    models.Q(("project__isnull", True), ("tag_key", "")),
                    _connector="OR",
                ),
                name="budget_has_one_scope",
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(("period__in", ["month", "quarter", "year"])), name="budget_period_known"
            ),
        ),
        migrations.RunSQL(BACKFILL, migrations.RunSQL.noop),
        migrations.RunSQL(SWEEP, "DROP POLICY control_rows ON billing_hold"),
    ]
