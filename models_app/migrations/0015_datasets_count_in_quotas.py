from django.db import migrations

from tenants.migrations._quotas import counted_again

STORED = """
INSERT INTO tenants_quotareservation (id, tenant_id, resource, period, subject, person, amount)
SELECT gen_random_uuid(), v.tenant_id, 'storage:datasets', 'at_once', 'dataset_version:' || v.id,
    coalesce(
        (SELECT m.user_id FROM tenants_membership m WHERE m.tenant_id = v.tenant_id AND m.user_id = v.uploaded_by),
        (SELECT m.user_id FROM tenants_apikey k JOIN tenants_membership m ON m.id = k.membership_id
         WHERE k.tenant_id = v.tenant_id AND k.id = v.uploaded_by)),
    greatest(1, v.size)
FROM models_app_datasetversion v WHERE v.state <> 'removed'
"""


class Migration(migrations.Migration):
    """What is stored counts from the upgrade on, so that a limit set later knows it."""

    dependencies = [
        ("models_app", "0014_keys_of_service_accounts"),
        ("tenants", "0012_quotas_have_scopes"),
        ("compute", "0006_jobs_wait_for_quotas"),
    ]

    operations = [
        migrations.RunSQL(
            [
                (statement, None)
                for statement in counted_again(
                    prefix="storage:", given=[STORED], reading=("models_app_datasetversion",)
                )
            ],
            migrations.RunSQL.noop,
        ),
    ]
