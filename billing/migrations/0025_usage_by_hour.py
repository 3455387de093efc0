"""Usage of a month by hour, which savings plans by the hour need, and by dimensions, by which another book rates it."""

from django.db import migrations

from billing.migrations import _hours as sql


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0024_required_tags"),
    ]

    operations = [
        migrations.RunSQL(sql.SUMS, migrations.RunSQL.noop),
    ]
