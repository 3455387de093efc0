from django.db import migrations

# Who asked for production counts, not what they were called: whoever approves is somebody else.
GRANT = """
GRANT UPDATE (requested_by) ON models_app_modelversion TO exchequer_app, exchequer_control;
"""


class Migration(migrations.Migration):
    dependencies = [("models_app", "0009_encrypted_objects")]

    operations = [migrations.RunSQL(GRANT, migrations.RunSQL.noop)]
