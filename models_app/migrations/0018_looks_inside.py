from django.db import migrations

from tenants.isolation import rls

# What an operator reads who looks inside a tenant. Of keys no hash; no prediction and no ground truth.
KEY = (
    "id, tenant_id, endpoint_id, name, prefix, requests_per_minute, created_by, created_by_label, created_at, expires_at, "
    "revoked_at, last_used_at"
)
READ = (
    rls.glass_sql(
        "models_app_dataset",
        "models_app_datasetgrouppermission",
        "models_app_datasetuserpermission",
        "models_app_datasetversion",
        "models_app_endpoint",
        "models_app_endpointgrouppermission",
        "models_app_endpointuserpermission",
        "models_app_healthalert",
        "models_app_healthwindow",
        "models_app_model",
        "models_app_modelgrouppermission",
        "models_app_modeluserpermission",
        "models_app_modelversion",
    )
    + rls.glass_sql("models_app_endpointkey", columns=KEY)
    + rls.glass_sql(
        "models_app_feedback", columns="id, tenant_id, endpoint_id, version_id, correct, error, predicted_at"
    )
)


class Migration(migrations.Migration):
    dependencies = [("models_app", "0017_restricted_datasets_are_noted"), ("compute", "0009_looks_inside")]

    operations = [migrations.RunSQL(READ)]
