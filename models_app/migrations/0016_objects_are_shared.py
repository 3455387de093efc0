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
        ("models_app", "0015_datasets_count_in_quotas"),
        ("tenants", "0022_projects_are_restricted"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="dataset",
            name="project",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.project",
            ),
        ),
        migrations.CreateModel(
            name="DatasetGroupPermission",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "content_object",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="models_app.dataset",
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
                        name="dataset_group_share_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EndpointGroupPermission",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "content_object",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="models_app.endpoint",
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
                        name="endpoint_group_share_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EndpointUserPermission",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "content_object",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="models_app.endpoint",
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
                        name="endpoint_share_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ModelGroupPermission",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "content_object",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="models_app.model",
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
                        name="model_group_share_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ModelUserPermission",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "content_object",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="models_app.model",
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
                        name="model_share_once",
                    )
                ],
            },
        ),
        rls.SecureTable("DatasetGroupPermission", app=SHARES, control_grants=SHARES),
        rls.SecureTable("EndpointGroupPermission", app=SHARES, control_grants=SHARES),
        rls.SecureTable("EndpointUserPermission", app=SHARES, control_grants=SHARES),
        rls.SecureTable("ModelGroupPermission", app=SHARES, control_grants=SHARES),
        rls.SecureTable("ModelUserPermission", app=SHARES, control_grants=SHARES),
        migrations.RunSQL(
            rls.composite_key_sql("models_app_dataset", "project_id", "tenants_project"), migrations.RunSQL.noop
        ),
    ]
