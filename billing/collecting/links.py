"""Where an invoice is paid: the page that the payment provider made for it, stored when it was pushed."""

from __future__ import annotations

from uuid import UUID

from billing.invoices.paying import NotPayable
from billing.models import Collection, Invoice
from billing.models.collecting import PUSH
from billing.models.invoicing import FINALISED
from billing.payments.chosen import payment_gateway
from billing.queries.owed.collecting import is_paid_there
from tenants.errors import Conflict, NotFound


class NoProvider(Conflict):
    """No payment provider is set up. Pay as the invoice states; the seller then records the payment."""

    code = "no_payment_provider"


class PageNotReady(Conflict):
    """The page to pay at is not ready yet. Try again in a minute."""

    code = "payment_page_not_ready"


class PaidThere(Conflict):
    """The payment provider counts a payment that was reversed, or that a bank took back. Pay as the invoice states; the seller then records the payment."""

    code = "paid_at_provider"


def payment_page(invoice_id: UUID) -> str:
    """Return the URL at which an unpaid invoice of the open scope is paid. The provider is not asked.

    Raises NotFound, NotPayable, NoProvider, PaidThere, PageNotReady.
    """
    invoice = Invoice.objects.filter(pk=invoice_id).first()
    if invoice is None:
        raise NotFound
    if invoice.state != FINALISED:
        raise NotPayable
    if not payment_gateway().collects:
        raise NoProvider
    if is_paid_there(invoice_id):
        raise PaidThere
    url = Collection.objects.filter(invoice=invoice, step=PUSH).values_list("url", flat=True).first()
    if not url:
        raise PageNotReady
    return url
