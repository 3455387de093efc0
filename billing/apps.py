"""Django's entry to the app."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        """Subscribe to the events of lower apps, and register the month's cost for operators, words of the audit log and navigation."""
        from billing import platform_events, subscribers  # noqa: F401
        from billing.approving import acts  # noqa: F401
        from billing.budgets import requests  # noqa: F401
        from billing.invoices.disputes import waiting
        from billing.models import Budget
        from billing.pricing.contracts import sign
        from billing.queries import project_figures
        from billing.queries.books import choices
        from billing.queries.digest import digest
        from billing.reconciling.queries import differing
        from tenants.audit import erasure, withheld, words
        from tenants.notifications import topics
        from tenants.operators import attention, first_contract, tenant_metrics
        from tenants.projects import figures
        from tenants.web import navigation
        from tenants.web.navigation import MONEY, NavigationEntry

        erasure.keep(
            "billing_billingperiod",
            "billing_collection",
            "billing_contract",
            "billing_creditblock",
            "billing_creditmovement",
            "billing_creditnote",
            "billing_dispute",
            "billing_disputemessage",
            "billing_invoice",
            "billing_invoicecomment",
            "billing_invoiceline",
            "billing_ledgerposting",
            "billing_ledgertransaction",
            "billing_meterreading",
            "billing_payment",
            "billing_paymentaccount",
            "billing_reminder",
            "billing_sharedcost",
            "billing_stopdeferral",
            "billing_topup",
            "billing_usageseries",
            "billing_requiredtag",
            "billing_showbackprice",
        )
        topics.register("budgets", "Budgets that cross a threshold, and unusual spend", "budget", "anomaly")
        topics.register("payments", "Payments that need somebody", "payment")
        topics.register("wallet", "Credit that expires, and the wallet", "credit", "wallet")
        topics.register("disputes", "Answers to disputes of invoices", "dispute")
        topics.register("reported usage", "Reported usage that waits for a decision", "usage")
        attention.register("invoices.view", waiting)
        attention.register("invoices.view", differing)
        money = ("currency", "month_spend", "spend_before", "currency_before")
        tenant_metrics.register(digest, *money, "budget_limit", "budget_spent", "budget_period")
        figures.register(project_figures.of_project, order=10)
        withheld.register_of_project("budget", Budget)
        first_contract.register(first_contract.Seller(choices, sign))
        words.register(
            {
                "billing.collecting.retried": "Step at the payment provider repeated",
                "billing.contract.agreed": "Contract agreed",
                "billing.contract.details_changed": "Billing details changed",
                "billing.contract.opened": "First contract opened",
                "billing.contract.withdrawn": "Contract withdrawn before its start",
                "billing.autopay.changed": "Automatic charges changed",
                "billing.payment_methods.changed": "Payment methods changed",
                "billing.dispute.ended": "Dispute agreed, declined or withdrawn",
                "billing.dispute.opened": "Line of an invoice disputed",
                "billing.dispute.written": "Message about a dispute",
                "billing.budget.alerted": "Budget threshold crossed",
                "billing.credit.expired": "Credit expired",
                "billing.credit.expires": "Notice of credit that expires soon",
                "billing.credit.granted": "Credit granted",
                "billing.credit.withdrawn": "Credit withdrawn",
                "billing.export.downloaded": "Cost export downloaded",
                "billing.hold.expired": "Hold for outside work expired",
                "billing.hold.extended": "Hold for outside work extended",
                "billing.hold.placed": "Hold for outside work placed",
                "billing.hold.released": "Hold for outside work released",
                "billing.invoice.credited": "Credit note issued",
                "billing.launch_stop.deferred": "Stop of launches deferred",
                "billing.invoice.paid": "Payment recorded",
                "billing.payment.reversed": "Payment reversed",
                "billing.invoice.reminded": "Unpaid invoice reminded of",
                "billing.invoice.send_ordered": "Invoice to be sent by email",
                "billing.invoice.sent": "Email about an invoice sent",
                "billing.price_book.created": "Price book created",
                "billing.price_version.published": "Price version published",
                "billing.quote.bound": "Quote accepted",
                "billing.report_limit.changed": "Limit of reported usage changed",
                "billing.required_tags.set": "Required tags set",
                "billing.showback.set": "Showback prices set",
                "billing.top_up.asked": "Top-up asked for",
                "billing.top_up.automatic": "Automatic top-up changed",
                "billing.top_up.invoiced": "Invoice of a top-up made",
                "billing.usage.conflicted": "Usage reported again with different content",
                "billing.usage.received": "Usage reported",
                "billing.usage.reviewed": "Reported usage reviewed",
            }
        )
        navigation.register(
            MONEY,
            NavigationEntry("Budgets", "wallet", "budgets", "budgets.view", "b", order=20),
            NavigationEntry("Prices", "coins", "prices", "pricebooks.view", order=30),
            NavigationEntry("Commitments", "list-check", "commitments", "invoices.view", order=32),
            NavigationEntry("Showback", "scale", "showback", "invoices.view", order=35),
            NavigationEntry("Chargeback", "chart-bar", "chargeback", "invoices.view", order=37),
            NavigationEntry("Invoice", "receipt", "invoice", "invoices.view", "i", order=40),
            NavigationEntry("Cost exports", "download", "cost-exports", "invoices.view", order=45),
            NavigationEntry("Statement", "scale", "statement", "invoices.view", order=42),
            NavigationEntry("Payment methods", "coins", "payment-methods", "invoices.view", order=46),
            NavigationEntry("Wallet", "coins", "wallet", "invoices.view", order=44),
            NavigationEntry("Reported usage", "upload", "reported", "invoices.view", order=50),
        )
