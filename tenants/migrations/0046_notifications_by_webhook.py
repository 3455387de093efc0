from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0048_figures_have_budgets"),
    ]

    operations = [
        migrations.AddField(
            model_name="notificationchoice",
            name="webhook",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
