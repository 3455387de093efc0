import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.isolation.rls import SecureTable, glass_sql


class Migration(migrations.Migration):
    dependencies = [
        ("compute", "0027_job_sets"),
        ("models_app", "0023_presets"),
        ("tenants", "0050_figures_of_the_month_before"),
    ]

    operations = [
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=80)),
                ("cron", models.CharField(max_length=100)),
                ("zone", models.CharField(max_length=64)),
                (
                    "overlap",
                    models.CharField(
                        choices=[("skip", "Skip"), ("queue", "Queue"), ("allow", "Allow")], default="skip", max_length=5
                    ),
                ),
                (
                    "missed",
                    models.CharField(choices=[("latest", "Latest"), ("none", "None")], default="latest", max_length=6),
                ),
                ("paused", models.BooleanField(default=False)),
                ("paused_reason", models.TextField(blank=True)),
                ("next_at", models.DateTimeField(null=True)),
                ("refusals", models.PositiveSmallIntegerField(default=0)),
                ("runs_as", models.UUIDField()),
                ("runs_as_label", models.CharField(max_length=254)),
                ("person", models.UUIDField(null=True)),
                ("created_by", models.UUIDField(null=True)),
                ("created_by_label", models.CharField(max_length=254)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("changed_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
                (
                    "pipeline",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="models_app.pipeline",
                    ),
                ),
                (
                    "preset",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="models_app.preset",
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
            name="ScheduleRun",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("due_at", models.DateTimeField()),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("launched", "Launched"),
                            ("waiting", "Waiting"),
                            ("skipped", "Skipped"),
                            ("missed", "Missed"),
                            ("refused", "Refused"),
                        ],
                        max_length=8,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("asked_by_label", models.CharField(blank=True, max_length=254)),
                ("noted_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
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
                    "pipeline_run",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="models_app.pipelinerun",
                    ),
                ),
                (
                    "schedule",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="models_app.schedule",
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
            model_name="schedule",
            index=models.Index(
                models.F("tenant"), models.OrderBy(models.F("id"), descending=True), name="models_app_schedule_newest"
            ),
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(
                condition=models.Q(("paused", False)), fields=["next_at"], name="models_app_schedule_next"
            ),
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(
                condition=models.Q(("preset__isnull", False)),
                fields=["tenant", "preset"],
                name="models_app_schedule_preset",
            ),
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(
                condition=models.Q(("pipeline__isnull", False)),
                fields=["tenant", "pipeline"],
                name="models_app_schedule_pipe",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.UniqueConstraint(
                models.F("tenant"), models.F("project"), models.F("name"), name="models_app_schedule_name"
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("pipeline__isnull", False), ("preset", None)),
                    models.Q(("pipeline", None), ("preset__isnull", False)),
                    _connector="OR",
                ),
                name="models_app_schedule_one_thing",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("next_at", None), ("paused", True)),
                    models.Q(("next_at__isnull", False), ("paused", False)),
                    _connector="OR",
                ),
                name="models_app_schedule_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(("overlap__in", ["skip", "queue", "allow"])), name="models_app_schedule_overlap"
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(("missed__in", ["latest", "none"])), name="models_app_schedule_missed"
            ),
        ),
        migrations.AddIndex(
            model_name="schedulerun",
            index=models.Index(
                condition=models.Q(("outcome", "waiting")), fields=["schedule"], name="models_app_tick_waiting"
            ),
        ),
        migrations.AddIndex(
            model_name="schedulerun",
            index=models.Index(fields=["tenant", "due_at"], name="models_app_tick_age"),
        ),
        migrations.AddConstraint(
            model_name="schedulerun",
            constraint=models.UniqueConstraint(
                models.F("tenant"), models.F("schedule"), models.F("due_at"), name="models_app_tick_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="schedulerun",
            constraint=models.UniqueConstraint(
                condition=models.Q(("outcome", "waiting")),
                fields=("tenant", "schedule"),
                name="models_app_tick_one_waits",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedulerun",
            constraint=models.CheckConstraint(
                condition=models.Q(("outcome__in", ["launched", "waiting", "skipped", "missed", "refused"])),
                name="models_app_tick_outcome",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedulerun",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("job__isnull", False), ("outcome", "launched"), ("pipeline_run", None)),
                    models.Q(("job", None), ("outcome", "launched"), ("pipeline_run__isnull", False)),
                    models.Q(models.Q(("outcome", "launched"), _negated=True), ("job", None), ("pipeline_run", None)),
                    _connector="OR",
                ),
                name="models_app_tick_launched",
            ),
        ),
        # The sweep finds the due and the waiting ones of all tenants.
        SecureTable(
            "Schedule",
            control=True,
            app="SELECT, INSERT, UPDATE, DELETE",
            control_grants="SELECT, INSERT, UPDATE, DELETE",
        ),
        SecureTable(
            "ScheduleRun",
            control=True,
            app="SELECT, INSERT, UPDATE, DELETE",
            control_grants="SELECT, INSERT, UPDATE, DELETE",
        ),
        migrations.RunSQL(
            glass_sql("models_app_schedule") + glass_sql("models_app_schedulerun"), migrations.RunSQL.noop
        ),
    ]
