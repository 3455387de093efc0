import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.audit.chain import GENESIS, PLATFORM, link
from tenants.isolation import rls

OUTCOMES = [("done", "done"), ("refused", "refused"), ("failed", "failed")]
# A key is given once; afterwards a row changes only by being erased, and an erased one never again. Only the control role
# may set `erased_at`.
WRITTEN_ONCE = """
CREATE FUNCTION tenants_a_label_is_written_once() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'a label of the audit log is written once' USING ERRCODE = 'restrict_violation'; END $$;
CREATE TRIGGER a_label_is_written_once BEFORE UPDATE ON tenants_auditsubject FOR EACH ROW
  WHEN (OLD.erased_at IS NOT NULL OR (OLD.wrapped IS NOT NULL AND NEW.erased_at IS NULL)
        OR (NEW.id, NEW.tenant_id, NEW.created_at) IS DISTINCT FROM (OLD.id, OLD.tenant_id, OLD.created_at)
        OR (NEW.reference IS DISTINCT FROM OLD.reference AND NEW.erased_at IS NULL))
  EXECUTE FUNCTION tenants_a_label_is_written_once();
"""
# The rows that exist become version 1 of the platform's chain. For this statement alone the owner sees and changes them.
OPEN = """
ALTER TABLE tenants_operatoract DISABLE TRIGGER append_only_rows;
ALTER TABLE tenants_operatoract NO FORCE ROW LEVEL SECURITY;
"""
CLOSE = """
ALTER TABLE tenants_operatoract FORCE ROW LEVEL SECURITY;
ALTER TABLE tenants_operatoract ENABLE TRIGGER append_only_rows;
"""


def chain_acts(apps, schema_editor):
    """Give every row its number and hash, oldest first, and the head the last of them."""
    act, head = apps.get_model("tenants", "OperatorAct"), apps.get_model("tenants", "OperatorHead")
    seq, previous = 0, GENESIS
    for row in act.objects.order_by("at", "id").iterator(chunk_size=2000):
        seq += 1
        row.seq, row.schema_version, row.prev_hash = seq, 1, previous
        row.hash = previous = link(previous, vars(row), PLATFORM)
        row.save(update_fields=["seq", "schema_version", "prev_hash", "hash"])
    head.objects.create(seq=seq, hash=previous)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0015_second_factors_of_people")]

    operations = [
        migrations.AddField("auditentry", "credential", models.CharField(blank=True, default="", max_length=80)),
        migrations.AddField("auditentry", "error_code", models.CharField(blank=True, default="", max_length=80)),
        migrations.AddField("auditentry", "on_behalf_of", models.UUIDField(null=True)),
        migrations.AddField("auditentry", "outcome", models.CharField(choices=OUTCOMES, default="done", max_length=8)),
        migrations.AddField("auditentry", "sealed", models.BinaryField(null=True)),
        migrations.AddField("auditentry", "subject", models.UUIDField(null=True)),
        migrations.AddConstraint(
            "auditentry",
            models.CheckConstraint(
                condition=models.Q(("outcome__in", ("done", "refused", "failed"))), name="audit_outcome_known"
            ),
        ),
        migrations.CreateModel(
            name="AuditSubject",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("reference", models.BinaryField(null=True)),
                ("wrapped", models.BinaryField(null=True)),
                ("label", models.BinaryField(null=True)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("erased_at", models.DateTimeField(null=True)),
                (
                    "data_key",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenantkey",
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
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "reference"), name="audit_subject_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("erased_at", None),
                            models.Q(("data_key", None), ("label", None), ("reference", None), ("wrapped", None)),
                            _connector="OR",
                        ),
                        name="audit_subject_erased",
                    ),
                ],
            },
        ),
        rls.SecureTable(
            "AuditSubject",
            app="SELECT, INSERT, UPDATE (data_key_id, wrapped, label)",
            control_grants="SELECT, INSERT, UPDATE",
            operator="SELECT, INSERT",
        ),
        migrations.RunSQL(WRITTEN_ONCE),
        migrations.CreateModel(
            name="OperatorHead",
            fields=[
                ("only_row", models.BooleanField(default=True, primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField(default=0)),
                ("hash", models.BinaryField(default=bytes(32))),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("only_row", True)), name="operator_head_once")
                ],
            },
        ),
        rls.GrantTable("OperatorHead", control="SELECT, UPDATE", operator="SELECT, UPDATE"),
        migrations.AddField("operatoract", "credential", models.CharField(blank=True, default="", max_length=80)),
        migrations.AddField("operatoract", "outcome", models.CharField(choices=OUTCOMES, default="done", max_length=8)),
        migrations.AddField("operatoract", "seq", models.BigIntegerField(null=True)),
        migrations.AddField("operatoract", "schema_version", models.PositiveSmallIntegerField(default=1)),
        migrations.AddField("operatoract", "prev_hash", models.BinaryField(default=b"")),
        migrations.AddField("operatoract", "hash", models.BinaryField(default=b"")),
        migrations.RunSQL(OPEN),
        migrations.RunPython(chain_acts, migrations.RunPython.noop),
        migrations.RunSQL(CLOSE),
        migrations.AlterField("operatoract", "seq", models.BigIntegerField(unique=True)),
        migrations.AlterField("operatoract", "schema_version", models.PositiveSmallIntegerField()),
        migrations.AlterField("operatoract", "prev_hash", models.BinaryField()),
        migrations.AlterField("operatoract", "hash", models.BinaryField()),
        migrations.AlterField("operatoract", "at", models.DateTimeField(editable=False)),
    ]
