import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
from tenants.isolation import rls

# The signer finds the chains that are due across all tenants.
APPENDED = (
    "CREATE POLICY control_rows ON tenants_audithead TO exchequer_control USING (true) WITH CHECK (true);"
    + "".join(
        f"CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION exchequer_append_only();"
        f"CREATE TRIGGER append_only_table BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION exchequer_append_only();"
        for table in ("tenants_auditcheckpoint", "tenants_platformcheckpoint", "tenants_auditpublickey")
    )
)


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0017_the_console_writes_less"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditPublicKey",
            fields=[
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("public", models.BinaryField()),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
        ),
        migrations.CreateModel(
            name="PlatformCheckpoint",
            fields=[
                ("seq", models.BigIntegerField()),
                ("hash", models.BinaryField()),
                ("at", models.DateTimeField()),
                ("signed_by", models.CharField(max_length=40)),
                ("signature", models.BinaryField()),
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("seq",), name="platform_checkpoint_once")],
            },
        ),
        migrations.CreateModel(
            name="AuditCheckpoint",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField()),
                ("hash", models.BinaryField()),
                ("at", models.DateTimeField()),
                ("signed_by", models.CharField(max_length=40)),
                ("signature", models.BinaryField()),
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
                "constraints": [models.UniqueConstraint(fields=("tenant", "seq"), name="audit_checkpoint_once")],
            },
        ),
        rls.GrantTable("AuditPublicKey", app="SELECT", control="SELECT, INSERT"),
        rls.GrantTable("PlatformCheckpoint", control="SELECT, INSERT"),
        rls.SecureTable("AuditCheckpoint", control=True, app="SELECT", control_grants="SELECT, INSERT"),
        migrations.RunSQL(APPENDED),
    ]
