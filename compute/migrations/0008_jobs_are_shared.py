import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import tenants.ids
import tenants.isolation.scoping
import tenants.sharing.tables
from tenants.isolation import rls

SHARES = "SELECT, INSERT, DELETE"


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("compute", "0007_operators_govern_the_fleet"),
        ("tenants", "0022_projects_are_restricted"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="JobGroupPermission",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "content_object",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="compute.job",
                    ),
                ),
                (
                    "group",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.group",
                    ),
                ),
                ("permission", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="auth.permission")),
                (
                    "tenant",
                    models.ForeignKey(
                        db_default=tenants.sharing.tables.CurrentTenant(),
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "constraints": [
                    models.UniqueConstraint(
                        models.F("tenant"),
                        models.F("group"),
                        models.F("permission"),
                        models.F("content_object"),
                        name="job_group_share_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="JobUserPermission",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "content_object",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="compute.job",
                    ),
                ),
                ("permission", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="auth.permission")),
                (
                    "tenant",
                    models.ForeignKey(
                        db_default=tenants.sharing.tables.CurrentTenant(),
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "abstract": False,
                "constraints": [
                    models.UniqueConstraint(
                        models.F("tenant"),
                        models.F("user"),
                        models.F("permission"),
                        models.F("content_object"),
                        name="job_share_once",
                    )
                ],
            },
        ),
        rls.SecureTable("JobGroupPermission", app=SHARES, control_grants=SHARES),
        rls.SecureTable("JobUserPermission", app=SHARES, control_grants=SHARES),
    ]
