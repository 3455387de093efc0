"""Invoices that stand: numbers, frozen lines, credit notes and payments; accounts of money in the ledger."""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from billing.migrations import _invoices as sql
from tenants.isolation.rls import SecureTable


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0013_periods_close"),
        ("tenants", "0038_requests_name_their_project"),
    ]

    operations = [
        migrations.CreateModel(
            name="Reconciliation",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("checked_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
                ("faults", models.JSONField(db_default=[], default=list)),
                (
                    "tenant",
                    models.OneToOneField(
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
            name="CreditNote",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("number", models.PositiveBigIntegerField()),
                ("label", models.CharField(max_length=40)),
                ("reason", models.CharField(max_length=400)),
                ("subtotal", models.DecimalField(decimal_places=12, max_digits=38)),
                ("tax", models.DecimalField(decimal_places=12, max_digits=38)),
                ("total", models.DecimalField(decimal_places=12, max_digits=38)),
                ("off_due", models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38)),
                ("refunded", models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38)),
                ("to_wallet", models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38)),
                ("content_hash", models.BinaryField()),
                ("issued_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("issued_by", models.CharField(max_length=254)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="CreditNoteLine",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("tax", models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="InvoiceLine",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("n", models.PositiveIntegerField()),
                ("kind", models.CharField(max_length=12)),
                ("project_id", models.UUIDField(null=True)),
                ("project_name", models.CharField(blank=True, db_default="", default="", max_length=120)),
                ("project_slug", models.CharField(blank=True, db_default="", default="", max_length=60)),
                ("meter_id", models.UUIDField(null=True)),
                ("meter", models.CharField(blank=True, db_default="", default="", max_length=60)),
                ("meter_title", models.CharField(blank=True, db_default="", default="", max_length=120)),
                ("unit", models.CharField(blank=True, db_default="", default="", max_length=30)),
                ("price_id", models.UUIDField(null=True)),
                ("version_id", models.UUIDField(null=True)),
                ("version_number", models.PositiveIntegerField(null=True)),
                ("unit_amount", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("dims", models.JSONField(db_default={}, default=dict)),
                ("details", models.JSONField(db_default={}, default=dict)),
                ("origin", models.DateField(null=True)),
                ("outside", models.BooleanField(db_default=False, default=False)),
                ("measured", models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38)),
                ("quantity", models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38)),
                ("intervals", models.PositiveBigIntegerField(db_default=0, default=0)),
                ("list_amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("exact_amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("tax_rate", models.DecimalField(decimal_places=3, max_digits=6, null=True)),
                ("tax", models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="NumberSeries",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("prefix", models.CharField(max_length=12, unique=True)),
                ("next_number", models.PositiveBigIntegerField(db_default=1, default=1)),
            ],
        ),
        migrations.CreateModel(
            name="Payment",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("kind", models.CharField(choices=[("payment", "Payment"), ("refund", "Refund")], max_length=7)),
                ("method", models.CharField(max_length=20)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("currency", models.CharField(max_length=3)),
                ("reference", models.CharField(blank=True, db_default="", default="", max_length=200)),
                ("external_id", models.CharField(blank=True, db_default="", default="", max_length=120)),
                ("received_on", models.DateField()),
                ("recorded_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("recorded_by", models.CharField(max_length=254)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="Seller",
            fields=[
                ("only_row", models.BooleanField(default=True, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(blank=True, default="", max_length=200)),
                ("address", models.TextField(blank=True, default="")),
                ("country", models.CharField(blank=True, default="", max_length=2)),
                ("tax_number", models.CharField(blank=True, default="", max_length=40)),
                ("email", models.EmailField(blank=True, default="", max_length=254)),
                ("how_to_pay", models.TextField(blank=True, default="")),
                ("changed_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="invoice",
            name="invoice_once_per_period",
        ),
        migrations.AddField(
            model_name="invoice",
            name="content_hash",
            field=models.BinaryField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="credited",
            field=models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38),
        ),
        migrations.AddField(
            model_name="invoice",
            name="customer",
            field=models.JSONField(db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="invoice",
            name="due_on",
            field=models.DateField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="finalised_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="finalised_by",
            field=models.CharField(blank=True, db_default="", default="", max_length=254),
        ),
        migrations.AddField(
            model_name="invoice",
            name="kind",
            field=models.CharField(
                choices=[("period", "period"), ("top_up", "top_up")],
                db_default="period",
                default="period",
                max_length=6,
            ),
        ),
        migrations.AddField(
            model_name="invoice",
            name="label",
            field=models.CharField(blank=True, db_default="", default="", max_length=40),
        ),
        migrations.AddField(
            model_name="invoice",
            name="number",
            field=models.PositiveBigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="paid",
            field=models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38),
        ),
        migrations.AddField(
            model_name="invoice",
            name="replaces",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="invoice",
            name="returned",
            field=models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38),
        ),
        migrations.AddField(
            model_name="invoice",
            name="seller",
            field=models.JSONField(db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="invoice",
            name="sent_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="subtotal",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="tax",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="taxes",
            field=models.JSONField(db_default=[], default=list),
        ),
        migrations.AddField(
            model_name="invoice",
            name="total",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="void_reason",
            field=models.CharField(blank=True, db_default="", default="", max_length=400),
        ),
        migrations.AddField(
            model_name="invoice",
            name="voided_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="voided_by",
            field=models.CharField(blank=True, db_default="", default="", max_length=254),
        ),
        migrations.AddField(
            model_name="ledgertransaction",
            name="invoice_id",
            field=models.UUIDField(null=True),
        ),
        migrations.AlterField(
            model_name="ledgerposting",
            name="account",
            field=models.CharField(max_length=10),
        ),
        migrations.AddIndex(
            model_name="ledgertransaction",
            index=models.Index(
                condition=models.Q(("invoice_id__isnull", False)),
                fields=["tenant", "invoice_id"],
                name="ledger_invoice",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerposting",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("account__in", ["available", "held", "spent", "unheld"]),
                        ("pot_kind__in", ["hold", "counter", "project"]),
                    ),
                    models.Q(
                        ("account__in", ["receivable", "wallet", "credit", "revenue", "tax", "clearing", "write_off"]),
                        ("pot_kind__in", ["invoice", "wallet", "credit", "tenant"]),
                    ),
                    _connector="OR",
                ),
                name="posting_account_has_its_owner",
            ),
        ),
        migrations.AddField(
            model_name="creditnote",
            name="invoice",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="credit_notes",
                to="billing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="creditnote",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="creditnoteline",
            name="note",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="lines",
                to="billing.creditnote",
            ),
        ),
        migrations.AddField(
            model_name="creditnoteline",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="invoice",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="lines",
                to="billing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="creditnoteline",
            name="line",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.invoiceline",
            ),
        ),
        migrations.AddField(
            model_name="creditnote",
            name="series",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.numberseries"
            ),
        ),
        migrations.AddField(
            model_name="invoice",
            name="series",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.numberseries",
            ),
        ),
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(fields=["tenant", "-period", "-id"], name="invoice_newest"),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(
                condition=models.Q(models.Q(("state", "void"), _negated=True), ("kind", "period")),
                fields=("tenant", "period", "currency", "kind"),
                name="invoice_once_per_period",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(fields=("series", "number"), name="invoice_number_once"),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["period", "top_up"])), name="invoice_kind_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("number__isnull", True), ("state__in", ["draft", "in_review"]), ("total__isnull", True)),
                    models.Q(
                        ("content_hash__isnull", False),
                        ("due_on__isnull", False),
                        ("finalised_at__isnull", False),
                        ("number__isnull", False),
                        ("series__isnull", False),
                        ("state__in", ["finalised", "paid", "void"]),
                        ("subtotal__isnull", False),
                        ("tax__isnull", False),
                        (
                            "total",
                            django.db.models.expressions.CombinedExpression(models.F("subtotal"), "+", models.F("tax")),
                        ),
                        ("total__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="invoice_stands_complete",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("credited__gte", 0),
                    ("paid__gte", 0),
                    ("returned__gte", 0),
                    ("returned__lte", models.F("paid")),
                    models.Q(
                        ("total__isnull", True),
                        models.Q(
                            ("credited__lte", models.F("total")),
                            (
                                "total__gte",
                                django.db.models.expressions.CombinedExpression(
                                    django.db.models.expressions.CombinedExpression(
                                        models.F("credited"), "+", models.F("paid")
                                    ),
                                    "-",
                                    models.F("returned"),
                                ),
                            ),
                        ),
                        _connector="OR",
                    ),
                ),
                name="invoice_settles_what_is_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "void"), _negated=True),
                    models.Q(("credited", 0), ("paid", models.F("returned")), ("voided_at__isnull", False)),
                    _connector="OR",
                ),
                name="invoice_void_owes_nothing",
            ),
        ),
        migrations.AddField(
            model_name="payment",
            name="invoice",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="payments",
                to="billing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="payment",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddConstraint(
            model_name="seller",
            constraint=models.CheckConstraint(condition=models.Q(("only_row", True)), name="seller_is_one"),
        ),
        migrations.AddConstraint(
            model_name="invoiceline",
            constraint=models.UniqueConstraint(fields=("tenant", "invoice", "n"), name="invoice_line_once"),
        ),
        migrations.AddConstraint(
            model_name="creditnoteline",
            constraint=models.UniqueConstraint(fields=("tenant", "note", "line"), name="credit_note_line_once"),
        ),
        migrations.AddConstraint(
            model_name="creditnoteline",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0), ("tax__gte", 0)), name="credit_note_line_credits"
            ),
        ),
        migrations.AddConstraint(
            model_name="creditnote",
            constraint=models.UniqueConstraint(fields=("series", "number"), name="credit_note_number_once"),
        ),
        migrations.AddConstraint(
            model_name="creditnote",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("subtotal__gte", 0),
                    ("tax__gte", 0),
                    (
                        "total",
                        django.db.models.expressions.CombinedExpression(models.F("subtotal"), "+", models.F("tax")),
                    ),
                    ("total__gt", 0),
                ),
                name="credit_note_credits",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditnote",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("off_due__gte", 0),
                    ("refunded__gte", 0),
                    ("to_wallet__gte", 0),
                    (
                        "total",
                        django.db.models.expressions.CombinedExpression(
                            django.db.models.expressions.CombinedExpression(
                                models.F("off_due"), "+", models.F("refunded")
                            ),
                            "+",
                            models.F("to_wallet"),
                        ),
                    ),
                ),
                name="credit_note_goes_somewhere",
            ),
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(fields=["tenant", "-received_on", "-id"], name="payment_newest"),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0), ("kind__in", ["payment", "refund"])), name="payment_is_real"
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("external_id", ""), _negated=True),
                fields=("tenant", "method", "external_id"),
                name="payment_once",
            ),
        ),
        SecureTable("Reconciliation", app="SELECT", control_grants="SELECT, INSERT, UPDATE", operator="SELECT"),
        SecureTable("InvoiceLine", app="SELECT", control_grants="SELECT", operator="SELECT, INSERT"),
        SecureTable("CreditNote", app="SELECT", control_grants="SELECT", operator="SELECT, INSERT"),
        SecureTable("CreditNoteLine", app="SELECT", control_grants="SELECT", operator="SELECT, INSERT"),
        SecureTable("Payment", app="SELECT", control_grants="SELECT, INSERT", operator="SELECT, INSERT"),
        migrations.RunSQL(sql.guards(), migrations.RunSQL.noop),
    ]
