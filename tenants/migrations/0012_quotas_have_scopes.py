import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.isolation import rls


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0011_sessions_know_their_person"),
    ]

    operations = [
        migrations.CreateModel(
            name="QuotaCeiling",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("resource", models.CharField(max_length=80)),
                (
                    "period",
                    models.CharField(
                        choices=[("at_once", "At once"), ("month", "A month")],
                        db_default="at_once",
                        default="at_once",
                        max_length=7,
                    ),
                ),
                ("limit", models.BigIntegerField(null=True)),
                ("guaranteed", models.BigIntegerField(db_default=0, default=0)),
                ("weight", models.PositiveSmallIntegerField(db_default=1, default=1)),
                ("set_by", models.CharField(max_length=254)),
                ("reason", models.CharField(max_length=400)),
                ("set_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.RemoveConstraint(
            model_name="quota",
            name="quota_once",
        ),
        migrations.AddField(
            model_name="quota",
            name="guaranteed",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="quota",
            name="month",
            field=models.DateField(null=True),
        ),
        migrations.AddField(
            model_name="quota",
            name="period",
            field=models.CharField(
                choices=[("at_once", "At once"), ("month", "A month")],
                db_default="at_once",
                default="at_once",
                max_length=7,
            ),
        ),
        migrations.AddField(
            model_name="quota",
            name="person",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="quota",
            name="project",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.project",
            ),
        ),
        migrations.AddField(
            model_name="quota",
            name="raised_to",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="quota",
            name="raised_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="quota",
            name="weight",
            field=models.PositiveSmallIntegerField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name="quotareservation",
            name="month",
            field=models.DateField(null=True),
        ),
        migrations.AddField(
            model_name="quotareservation",
            name="period",
            field=models.CharField(
                choices=[("at_once", "At once"), ("month", "A month")],
                db_default="at_once",
                default="at_once",
                max_length=7,
            ),
        ),
        migrations.AddField(
            model_name="quotareservation",
            name="person",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="quotareservation",
            name="project",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.project",
            ),
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.UniqueConstraint(
                fields=("tenant", "resource", "period", "project", "person"), name="quota_once", nulls_distinct=False
            ),
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.CheckConstraint(
                condition=models.Q(("period", "at_once"), ("period", "month"), _connector="OR"),
                name="quota_period_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.CheckConstraint(
                condition=models.Q(("project__isnull", True), ("person__isnull", True), _connector="OR"),
                name="quota_has_one_scope",
            ),
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.CheckConstraint(
                condition=models.Q(("guaranteed__gte", 0), ("weight__gte", 1)), name="quota_share_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("raised_to__isnull", True), ("raised_until__isnull", True)),
                    models.Q(("raised_to__isnull", False), ("raised_until__isnull", False)),
                    _connector="OR",
                ),
                name="quota_raise_has_an_end",
            ),
        ),
        migrations.AddField(
            model_name="quotaceiling",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddConstraint(
            model_name="quotaceiling",
            constraint=models.UniqueConstraint(fields=("tenant", "resource", "period"), name="quota_ceiling_once"),
        ),
        migrations.AddConstraint(
            model_name="quotaceiling",
            constraint=models.CheckConstraint(
                condition=models.Q(("period", "at_once"), ("period", "month"), _connector="OR"),
                name="quota_ceiling_period_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="quotaceiling",
            constraint=models.CheckConstraint(
                condition=models.Q(("guaranteed__gte", 0), ("weight__gte", 1)), name="quota_ceiling_share_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="quotaceiling",
            constraint=models.CheckConstraint(
                condition=models.Q(("limit__isnull", True), ("limit__gte", 0), _connector="OR"),
                name="quota_ceiling_not_negative",
            ),
        ),
        # What may be written of a ceiling is the operators' and the commands': the web role reads it.
        rls.SecureTable("QuotaCeiling", control=True, app="SELECT"),
        *(
            migrations.RunSQL(rls.composite_key_sql(table, "project_id", "tenants_project"), migrations.RunSQL.noop)
            for table in ("tenants_quota", "tenants_quotareservation")
        ),
        # The controller weighs what every tenant has in use before it gives a device to one of them.
        migrations.RunSQL(
            "CREATE POLICY control_rows ON tenants_quota TO exchequer_control USING (true) WITH CHECK (true)",
            "DROP POLICY control_rows ON tenants_quota",
        ),
    ]
