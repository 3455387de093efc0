from django.db import migrations, models

# No process removes a data key. This does, for the tenant whose erasure is ordered alone; nothing else removes one.
KEYS = """
CREATE POLICY lookup_rows ON tenants_datakey FOR SELECT TO exchequer_owner USING (true);
CREATE POLICY destroyed ON tenants_datakey FOR DELETE TO exchequer_owner USING (true);
CREATE FUNCTION exchequer_destroy_data_keys(organisation uuid) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ WITH gone AS (
     DELETE FROM tenants_datakey k USING tenants_tenant t
     WHERE k.tenant_id = organisation AND t.id = k.tenant_id
       AND t.standing = 'closed' AND t.erase_ordered_at IS NOT NULL
     RETURNING k.id)
   SELECT count(*) FROM gone $$;
REVOKE ALL ON FUNCTION exchequer_destroy_data_keys(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION exchequer_destroy_data_keys(uuid) TO exchequer_control;
"""
CONSOLE = "GRANT UPDATE (erase_ordered_at) ON tenants_tenant TO exchequer_operator;"


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0028_exports"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="erase_ordered_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="tenant",
            name="erased_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name="tenant",
            index=models.Index(
                condition=models.Q(("erase_ordered_at__isnull", False), ("erased_at", None)),
                fields=["erase_ordered_at"],
                name="tenant_to_erase",
            ),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(("erase_ordered_at", None), ("standing", "closed"), _connector="OR"),
                name="tenant_erased_when_closed",
            ),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(("erased_at", None), ("erase_ordered_at__isnull", False), _connector="OR"),
                name="tenant_erased_by_order",
            ),
        ),
        migrations.RunSQL(KEYS + CONSOLE),
    ]
