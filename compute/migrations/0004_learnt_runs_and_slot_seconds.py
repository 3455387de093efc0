"""What quotes learn from, and the money of slots."""

from django.db import migrations, models

import tenants.clock
from tenants.isolation.rls import GrantTable


class Migration(migrations.Migration):
    dependencies = [
        ("compute", "0003_slots"),
        ("tenants", "0004_theme_follows_the_system"),
    ]

    operations = [
        migrations.CreateModel(
            name="RunPrior",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("family", models.CharField(max_length=80)),
                ("device_class", models.CharField(max_length=80)),
                ("work_mean", models.FloatField()),
                ("work_variance", models.FloatField()),
                ("start_mean", models.FloatField()),
                ("start_variance", models.FloatField()),
                ("runs", models.PositiveIntegerField()),
                ("within", models.PositiveIntegerField(default=0)),
                ("promised", models.PositiveIntegerField(default=0)),
                ("learnt_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
            ],
        ),
        migrations.AddField(
            model_name="allocation",
            name="billed_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="allocation",
            name="dims",
            field=models.JSONField(db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="allocation",
            name="hold_id",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="allocation",
            name="requested_by",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="allocation",
            name="requested_by_label",
            field=models.CharField(blank=True, db_default="", default="", max_length=254),
        ),
        migrations.AddField(
            model_name="allocation",
            name="settle_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="attempt",
            name="startup_s",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="family",
            field=models.CharField(blank=True, db_default="", default="", max_length=80),
        ),
        migrations.AddField(
            model_name="job",
            name="forecast",
            field=models.JSONField(db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="job",
            name="nominal_s",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="quoted_least",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="quoted_most",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="work_key",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("ended_at__isnull", False), models.Q(("family", ""), _negated=True)),
                fields=["tenant", "family", "device_class", "-ended_at"],
                name="compute_job_learnt",
            ),
        ),
        migrations.AddConstraint(
            model_name="runprior",
            constraint=models.UniqueConstraint(fields=("family", "device_class"), name="compute_prior_once"),
        ),
        GrantTable("RunPrior", app="SELECT", control="SELECT, INSERT, UPDATE"),
    ]
