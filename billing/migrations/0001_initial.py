"""Tables of the billing room."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("tenants", "0002_library_grants"),
    ]

    operations = [
        migrations.CreateModel(
            name="Budget",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("currency", models.CharField(max_length=3)),
                ("period", models.CharField(choices=[("month", "Month")], default="month", max_length=5)),
                (
                    "alerts",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveSmallIntegerField(), default=list, size=None
                    ),
                ),
                (
                    "at_limit",
                    models.CharField(
                        choices=[("notify", "notify"), ("block_new", "block_new"), ("stop_running", "stop_running")],
                        max_length=12,
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "project",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.project",
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
            },
        ),
        migrations.CreateModel(
            name="BudgetPeriod",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("period", models.DateField()),
                ("limit", models.DecimalField(decimal_places=12, max_digits=38)),
                ("at_limit", models.CharField(max_length=12)),
                ("ceiling", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("held", models.DecimalField(decimal_places=12, default=0, max_digits=38)),
                ("spent", models.DecimalField(decimal_places=12, default=0, max_digits=38)),
                ("unheld", models.DecimalField(decimal_places=12, default=0, max_digits=38)),
                (
                    "budget",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="periods",
                        to="billing.budget",
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
            },
        ),
        migrations.CreateModel(
            name="Hold",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("subject", models.CharField(max_length=120)),
                ("period", models.DateField()),
                ("currency", models.CharField(max_length=3)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("settled", models.DecimalField(decimal_places=12, default=0, max_digits=38)),
                ("state", models.CharField(default="open", max_length=8)),
                ("placed_by_id", models.UUIDField(null=True)),
                ("placed_by", models.CharField(blank=True, max_length=254)),
                ("placed_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("released_at", models.DateTimeField(null=True)),
                (
                    "project",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.project",
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
            },
        ),
        migrations.CreateModel(
            name="HoldShare",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "counter",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="shares",
                        to="billing.budgetperiod",
                    ),
                ),
                (
                    "hold",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="shares",
                        to="billing.hold",
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
            },
        ),
        migrations.CreateModel(
            name="Invoice",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("period", models.DateField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("currency", models.CharField(max_length=3)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "draft"),
                            ("in_review", "in_review"),
                            ("finalised", "finalised"),
                            ("paid", "paid"),
                            ("void", "void"),
                        ],
                        db_default="draft",
                        default="draft",
                        max_length=9,
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
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
            },
        ),
        migrations.CreateModel(
            name="LedgerTransaction",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=8)),
                ("period", models.DateField()),
                ("hold_id", models.UUIDField(null=True)),
                ("attempt_id", models.UUIDField(null=True)),
                ("reason", models.CharField(blank=True, max_length=200)),
                ("posted_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
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
            },
        ),
        migrations.CreateModel(
            name="LedgerPosting",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("account", models.CharField(max_length=9)),
                ("pot", models.UUIDField()),
                ("pot_kind", models.CharField(max_length=7)),
                ("currency", models.CharField(max_length=3)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
                (
                    "transaction",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="postings",
                        to="billing.ledgertransaction",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="Meter",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("key", models.SlugField(max_length=60)),
                ("title", models.CharField(max_length=120)),
                ("unit", models.CharField(max_length=30)),
                ("event_type", models.CharField(max_length=120)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
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
            },
        ),
        migrations.CreateModel(
            name="PriceBook",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=120)),
                ("currency", models.CharField(max_length=3)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
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
            },
        ),
        migrations.CreateModel(
            name="PriceVersion",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField()),
                ("effective_at", models.DateTimeField()),
                ("published_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("published_by", models.CharField(max_length=254)),
                ("note", models.CharField(blank=True, max_length=200)),
                (
                    "book",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="versions",
                        to="billing.pricebook",
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
            },
        ),
        migrations.CreateModel(
            name="Price",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("dims", models.JSONField(default=dict)),
                ("unit_amount", models.DecimalField(decimal_places=12, max_digits=38)),
                (
                    "meter",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.meter",
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
                (
                    "version",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="prices",
                        to="billing.priceversion",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="Quote",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("body_hash", models.BinaryField()),
                ("body", models.JSONField()),
                ("unit_amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("currency", models.CharField(max_length=3)),
                ("typical", models.DecimalField(decimal_places=12, max_digits=38)),
                ("worst", models.DecimalField(decimal_places=12, max_digits=38)),
                ("created_by", models.CharField(max_length=254)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("expires_at", models.DateTimeField()),
                ("taken_at", models.DateTimeField(null=True)),
                (
                    "price",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.price",
                    ),
                ),
                (
                    "project",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.project",
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
            },
        ),
        # The partitioned table itself is made by SQL in the next migration.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="UsageEvent",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "tenant_id",
                                "series_hash",
                                "started_at",
                                "key_hash",
                                "part",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("series_hash", models.BinaryField()),
                        ("started_at", models.DateTimeField()),
                        ("key_hash", models.BinaryField()),
                        ("part", models.PositiveSmallIntegerField()),
                        ("ended_at", models.DateTimeField()),
                        (
                            "kind",
                            models.CharField(
                                choices=[("usage", "Usage"), ("waiver", "Waiver")], default="usage", max_length=6
                            ),
                        ),
                        ("period", models.DateField()),
                        ("day", models.DateField()),
                        ("meter_id", models.UUIDField()),
                        ("project_id", models.UUIDField()),
                        ("price_id", models.UUIDField(null=True)),
                        ("hold_id", models.UUIDField(null=True)),
                        ("measured", models.DecimalField(decimal_places=12, max_digits=38)),
                        ("billable", models.DecimalField(decimal_places=12, max_digits=38)),
                        ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                        ("recorded_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                        (
                            "tenant",
                            models.ForeignKey(
                                db_constraint=False,
                                db_index=False,
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
                    },
                ),
            ],
        ),
        migrations.CreateModel(
            name="UsageKey",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "tenant_id", "key_hash", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("key_hash", models.BinaryField()),
                ("payload_hash", models.BinaryField()),
                ("event_at", models.DateTimeField()),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
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
            },
        ),
        migrations.CreateModel(
            name="UsageRollup",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("period", models.DateField()),
                ("day", models.DateField()),
                ("hour", models.DateTimeField()),
                ("series_hash", models.BinaryField()),
                ("events", models.BigIntegerField()),
                ("measured", models.DecimalField(decimal_places=12, max_digits=38)),
                ("billable", models.DecimalField(decimal_places=12, max_digits=38)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                (
                    "meter",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.meter",
                    ),
                ),
                (
                    "price",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.price",
                    ),
                ),
                (
                    "project",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.project",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
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
            },
        ),
        migrations.CreateModel(
            name="UsageSeries",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "tenant_id", "hash", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("hash", models.BinaryField()),
                ("resource", models.CharField(max_length=200)),
                ("job_id", models.UUIDField(null=True)),
                ("attempt_id", models.UUIDField(null=True)),
                ("source", models.CharField(max_length=120)),
                ("dims", models.JSONField(default=dict)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
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
            },
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.UniqueConstraint(
                condition=models.Q(("closed_at__isnull", True)),
                fields=("tenant", "project", "currency"),
                name="budget_once_per_scope",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", 0), ("amount__lt", 1000000000000000)), name="budget_is_real"
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(("at_limit__in", ["notify", "block_new", "stop_running"])),
                name="budget_at_limit_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetperiod",
            constraint=models.UniqueConstraint(fields=("tenant", "budget", "period"), name="budget_period_once"),
        ),
        migrations.AddConstraint(
            model_name="budgetperiod",
            constraint=models.CheckConstraint(
                condition=models.Q(("held__gte", 0), ("spent__gte", 0), ("unheld__gte", 0)),
                name="budget_counters_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetperiod",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ceiling__isnull", True),
                    (
                        "ceiling__gte",
                        django.db.models.expressions.CombinedExpression(models.F("held"), "+", models.F("spent")),
                    ),
                    _connector="OR",
                ),
                name="budget_never_overspent",
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "open")), fields=("tenant", "subject"), name="hold_once_per_subject"
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(("settled__gte", 0), ("settled__lte", models.F("amount"))),
                name="hold_covers_what_is_settled",
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["open", "released"])), name="hold_state_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="holdshare",
            constraint=models.UniqueConstraint(fields=("tenant", "hold", "counter"), name="hold_share_once"),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "void"), _negated=True),
                fields=("tenant", "period", "currency"),
                name="invoice_once_per_period",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["draft", "in_review", "finalised", "paid", "void"])),
                name="invoice_state_known",
            ),
        ),
        migrations.AddIndex(
            model_name="ledgertransaction",
            index=models.Index(fields=["tenant", "attempt_id"], name="ledger_attempt"),
        ),
        migrations.AddIndex(
            model_name="ledgertransaction",
            index=models.Index(fields=["tenant", "hold_id"], name="ledger_hold"),
        ),
        migrations.AddIndex(
            model_name="ledgerposting",
            index=models.Index(fields=["tenant", "transaction"], name="posting_transaction"),
        ),
        migrations.AddIndex(
            model_name="ledgerposting",
            index=models.Index(fields=["tenant", "pot", "account"], name="posting_pot"),
        ),
        migrations.AddConstraint(
            model_name="meter",
            constraint=models.UniqueConstraint(fields=("tenant", "key"), name="meter_key_once"),
        ),
        migrations.AddConstraint(
            model_name="meter",
            constraint=models.UniqueConstraint(fields=("tenant", "event_type"), name="meter_event_type_once"),
        ),
        migrations.AddConstraint(
            model_name="pricebook",
            constraint=models.UniqueConstraint(fields=("tenant", "currency"), name="price_book_once_per_currency"),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.UniqueConstraint(fields=("tenant", "book", "number"), name="price_version_number_once"),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.UniqueConstraint(
                fields=("tenant", "book", "effective_at"), name="price_version_start_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.UniqueConstraint(
                fields=("tenant", "version", "meter", "dims"), name="price_once_per_dims"
            ),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.CheckConstraint(
                condition=models.Q(("unit_amount__gte", 0), ("unit_amount__lt", 1000000000000)), name="price_is_real"
            ),
        ),
        migrations.AddIndex(
            model_name="usagerollup",
            index=models.Index(fields=["tenant", "day", "project"], name="rollup_day"),
        ),
        migrations.AddConstraint(
            model_name="usagerollup",
            constraint=models.UniqueConstraint(
                fields=("tenant", "series_hash", "hour", "day", "period", "project", "meter", "price"),
                name="rollup_once",
                nulls_distinct=False,
            ),
        ),
        migrations.AddIndex(
            model_name="usageseries",
            index=models.Index(fields=["tenant", "job_id"], name="series_job"),
        ),
        migrations.AddIndex(
            model_name="usageseries",
            index=models.Index(fields=["tenant", "attempt_id"], name="series_attempt"),
        ),
    ]
