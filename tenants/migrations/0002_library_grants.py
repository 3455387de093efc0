"""Rights of the run-time roles on tables of Django and of libraries."""

from django.db import migrations

from tenants.migrations import _sql as sql


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0001_initial"),
        ("sessions", "0001_initial"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("account", "0009_emailaddress_unique_primary_email"),
        (
            "guardian",
            "0003_remove_groupobjectpermission_guardian_gr_content_ae6aec_idx_and_more",
        ),
    ]
    operations = [migrations.RunSQL(sql.foreign_grants(), migrations.RunSQL.noop)]
