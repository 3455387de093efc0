"""A node logs in as itself, and sees a tenant only while it works for it (docs/decisions/0029-a-node-is-not-the-platform.md)."""

from django.db import migrations

from compute.migrations import _node


class Migration(migrations.Migration):
    dependencies = [
        ("compute", "0020_looks_read_samples"),
        ("billing", "0049_usage_by_day"),
        ("tenants", "0050_figures_of_the_month_before"),
    ]

    operations = [
        migrations.RunSQL(_node.ROLE, migrations.RunSQL.noop),
        migrations.RunSQL(_node.FUNCTIONS),
        migrations.RunSQL(_node.FLEET, _node.NO_FLEET),
        *(
            migrations.RunSQL(part)
            for part in (_node.COMPUTE, _node.EARLIER, _node.MONEY, _node.BOOKS, _node.TENANCY, _node.PEOPLE)
        ),
    ]
