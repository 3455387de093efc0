import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.isolation.rls import SecureTable, glass_sql

# What an operator reads who looks inside a tenant: no amount.
PIPELINE = "id, tenant_id, project_id, name, definition, currency, version, created_by, created_by_label, created_at, changed_at"
RUN = (
    "id, tenant_id, pipeline_id, project_id, version, definition, trigger, state, reason, currency, launched_by, "
    "launched_by_label, person, launched_at, ended_at"
)
READ = (
    glass_sql("models_app_pipeline", columns=PIPELINE)
    + glass_sql("models_app_pipelinerun", columns=RUN)
    + glass_sql("models_app_steptry")
)


class Migration(migrations.Migration):
    dependencies = [
        ("compute", "0022_capacity_wanted"),
        ("models_app", "0021_nodes_read_data_and_register_models"),
        ("tenants", "0050_figures_of_the_month_before"),
    ]

    operations = [
        migrations.CreateModel(
            name="Pipeline",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=120)),
                ("definition", models.JSONField()),
                ("cap", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("currency", models.CharField(max_length=3)),
                ("version", models.PositiveIntegerField(default=1)),
                ("created_by", models.UUIDField(null=True)),
                ("created_by_label", models.CharField(max_length=254)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("changed_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
                (
                    "project",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.project",
                    ),
                ),
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
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="PipelineRun",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("version", models.PositiveIntegerField()),
                ("definition", models.JSONField()),
                ("trigger", models.CharField(max_length=60)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="running",
                        max_length=9,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("cap", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("currency", models.CharField(max_length=3)),
                ("launched_by", models.UUIDField(null=True)),
                ("launched_by_label", models.CharField(max_length=254)),
                ("person", models.UUIDField(null=True)),
                ("launched_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "pipeline",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="models_app.pipeline",
                    ),
                ),
                (
                    "project",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.project",
                    ),
                ),
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
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="StepTry",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("step", models.CharField(max_length=40)),
                ("item", models.PositiveSmallIntegerField(default=0)),
                ("number", models.PositiveSmallIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[("running", "Running"), ("succeeded", "Succeeded"), ("failed", "Failed")],
                        default="running",
                        max_length=9,
                    ),
                ),
                ("outputs", models.JSONField(default=dict)),
                ("message", models.TextField(blank=True)),
                ("final", models.BooleanField(default=False)),
                ("set_aside", models.BooleanField(default=False)),
                ("began_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "job",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="compute.job",
                    ),
                ),
                (
                    "run",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tries",
                        to="models_app.pipelinerun",
                    ),
                ),
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
                "base_manager_name": "objects",
            },
        ),
        migrations.AddIndex(
            model_name="pipeline",
            index=models.Index(
                models.F("tenant"), models.OrderBy(models.F("id"), descending=True), name="models_app_pipeline_newest"
            ),
        ),
        migrations.AddConstraint(
            model_name="pipeline",
            constraint=models.UniqueConstraint(
                models.F("tenant"), models.F("project"), models.F("name"), name="models_app_pipeline_name"
            ),
        ),
        migrations.AddConstraint(
            model_name="pipeline",
            constraint=models.CheckConstraint(
                condition=models.Q(("cap", None), ("cap__gt", 0), _connector="OR"), name="models_app_pipeline_cap"
            ),
        ),
        migrations.AddIndex(
            model_name="pipelinerun",
            index=models.Index(
                models.F("tenant"), models.OrderBy(models.F("id"), descending=True), name="models_app_run_newest"
            ),
        ),
        migrations.AddIndex(
            model_name="pipelinerun",
            index=models.Index(condition=models.Q(("state", "running")), fields=["id"], name="models_app_run_open"),
        ),
        migrations.AddConstraint(
            model_name="pipelinerun",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["running", "succeeded", "failed", "cancelled"])),
                name="models_app_run_known_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="pipelinerun",
            constraint=models.CheckConstraint(
                condition=models.Q(("cap", None), ("cap__gt", 0), _connector="OR"), name="models_app_run_cap"
            ),
        ),
        migrations.AddIndex(
            model_name="steptry",
            index=models.Index(
                condition=models.Q(("job__isnull", False)), fields=["tenant", "job"], name="models_app_try_job"
            ),
        ),
        migrations.AddConstraint(
            model_name="steptry",
            constraint=models.UniqueConstraint(
                models.F("tenant"),
                models.F("run"),
                models.F("step"),
                models.F("item"),
                models.F("number"),
                name="models_app_try_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="steptry",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["running", "succeeded", "failed"])), name="models_app_try_known_state"
            ),
        ),
        # The sweep finds the open runs of all tenants.
        SecureTable("Pipeline", app="SELECT, INSERT, UPDATE", control_grants="SELECT, INSERT, UPDATE"),
        SecureTable("PipelineRun", control=True, app="SELECT, INSERT, UPDATE", control_grants="SELECT, INSERT, UPDATE"),
        SecureTable("StepTry", app="SELECT, INSERT, UPDATE", control_grants="SELECT, INSERT, UPDATE"),
        migrations.RunSQL(READ, migrations.RunSQL.noop),
    ]
