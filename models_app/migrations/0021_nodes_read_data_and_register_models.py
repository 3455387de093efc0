"""What a node reads and writes of data sets and models, for the attempts that it runs."""

from django.db import migrations

from tenants.isolation.rls import node_sql

# To lock a row takes a right to change it; that of its tenant changes nothing, since the policy binds the new row too.
SQL = node_sql(
    models_app_dataset=("SELECT", ""),
    models_app_datasetversion=("SELECT", ""),
    models_app_model=("SELECT, INSERT, UPDATE (tenant_id)", ""),
    models_app_modelversion=("SELECT, INSERT", ""),
)


class Migration(migrations.Migration):
    dependencies = [
        ("models_app", "0020_keys_end_with_rights"),
        ("compute", "0021_nodes_have_logins"),
    ]

    operations = [migrations.RunSQL(SQL)]
