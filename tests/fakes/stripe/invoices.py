"""Invoice items, invoices and their payments."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.fakes.stripe import objects
from tests.fakes.stripe.errors import Refusal, bad
from tests.fakes.stripe.payments import confirm, new_intent
from tests.fakes.stripe.service import Request, route, update_metadata
from tests.fakes.stripe.store import Object, Store

DAY_S = int(timedelta(days=1).total_seconds())
CHARGEABLE = ("open", "uncollectible")


def refresh(store: Store, invoice: Object) -> None:
    """Bring the lines and amounts of a draft up to date."""
    known = {line["parent"]["invoice_item_details"]["invoice_item"]: line for line in invoice["lines"]["data"]}
    items = store.all("invoiceitem", invoice=invoice["id"])
    invoice["lines"]["data"] = [known.get(item["id"]) or _line(store, item) for item in items]
    total = sum(item["amount"] for item in items)
    due = max(total, 0)
    invoice.update(subtotal=total, subtotal_excluding_tax=total, total=total, total_excluding_tax=total)
    invoice.update(amount_due=due, amount_remaining=due)


def _line(store: Store, item: Object) -> Object:
    names = ("amount", "currency", "description", "invoice", "metadata", "period")
    details = {"invoice_item": item["id"], "proration": False, "proration_details": None, "subscription": None}
    return objects.new(
        store,
        "line_item",
        **{name: item[name] for name in names},
        parent={"type": "invoice_item_details", "invoice_item_details": details, "subscription_item_details": None},
        subtotal=item["amount"],
    )


@route("POST", "/invoices", "InvoiceCreateParams")
def create_invoice(request: Request) -> Object:
    """Create a draft."""
    store, params = request.store, request.params
    customer = store.get("customer", params.get("customer", ""), "customer")
    method, now = params.get("collection_method", "charge_automatically"), store.clock.now()
    if method == "send_invoice" and not {"days_until_due", "due_date"} & params.keys():
        raise bad("If invoice 'collection_method'='send_invoice', you must set 'days_until_due' or 'due_date'.")
    made = objects.new(
        store,
        "invoice",
        auto_advance=params.get("auto_advance", False),
        collection_method=method,
        currency=params.get("currency", "usd").lower(),
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        description=params.get("description"),
        due_date=params.get("due_date")
        or (now + params["days_until_due"] * DAY_S if "days_until_due" in params else None),
        number=params.get("number"),
        period_end=now,
        period_start=now,
    )
    made["lines"] = objects.listed(f"/v1/invoices/{made['id']}/lines", [])
    update_metadata(made, params)
    store.add(made)
    if params.get("pending_invoice_items_behavior") == "include":
        for item in store.all("invoiceitem", customer=customer["id"], currency=made["currency"]):
            item["invoice"] = item["invoice"] or made["id"]
        refresh(store, made)
    request.service.events.add("invoice.created", made)
    return made


@route("GET", "/invoices", "InvoiceListParams")
def list_invoices(request: Request) -> Object:
    """List invoices."""
    params = request.params
    found = request.store.all("invoice", customer=params.get("customer"), status=params.get("status"))
    return request.store.page(found, params, request.path)


@route("GET", "/invoices/search", "InvoiceSearchParams")
def search_invoices(request: Request) -> Object:
    """Search invoices."""
    return request.store.search("invoice", request.params, request.path)


@route("GET", "/invoices/{id}", "InvoiceRetrieveParams")
def get_invoice(request: Request) -> Object:
    """Return an invoice."""
    return request.store.get("invoice", request.ids[0])


@route("DELETE", "/invoices/{id}", "InvoiceDeleteParams")
def delete_invoice(request: Request) -> Object:
    """Delete a draft with its items."""
    one = request.store.get("invoice", request.ids[0])
    if one["status"] != "draft":
        raise bad("You can only delete draft invoices.", "invoice_not_editable")
    request.store.remove("invoice", one["id"])
    request.service.events.add("invoice.deleted", one)
    return {"id": one["id"], "object": "invoice", "deleted": True}


def _move(request: Request, invoice: Object, status: str, at: str, *events: str) -> Object:
    invoice["status"] = status
    invoice["status_transitions"][at] = request.store.clock.now()
    for event in events:
        request.service.events.add(event, invoice)
    return invoice


@route("POST", "/invoices/{id}/finalize", "InvoiceFinalizeInvoiceParams")
def finalize_invoice(request: Request) -> Object:
    """Open a draft; one without an amount is paid at once."""
    store, one = request.store, request.store.get("invoice", request.ids[0])
    if one["status"] != "draft":
        raise bad(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.", "invoice_not_editable"
        )
    customer = store.get("customer", one["customer"])
    one["starting_balance"] = customer["balance"]
    due = max(one["total"] + customer["balance"], 0)
    customer["balance"] = min(one["total"] + customer["balance"], 0)
    now = store.clock.now()
    one.update(amount_due=due, amount_remaining=due, ending_balance=customer["balance"], effective_at=now)
    one["number"] = one["number"] or f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}"
    customer["next_invoice_sequence"] += 1
    one["hosted_invoice_url"] = f"{request.service.address}/invoice/{one['id']}"
    one["invoice_pdf"] = f"{one['hosted_invoice_url']}/pdf"
    if due:
        intent = new_intent(request, due, one["currency"], one["customer"])
        payment = objects.new(
            store,
            "invoice_payment",
            amount_requested=due,
            currency=one["currency"],
            invoice=one["id"],
            payment={"type": "payment_intent", "payment_intent": intent["id"]},
        )
        store.add(payment)
    _move(request, one, "open", "finalized_at", "invoice.finalized")
    return one if due else paid(request, one)


@route("POST", "/invoices/{id}/send", "InvoiceSendInvoiceParams")
def send_invoice(request: Request) -> Object:
    """Send an invoice; test mode sends nothing."""
    one = request.store.get("invoice", request.ids[0])
    if one["collection_method"] != "send_invoice":
        raise bad("You can only manually send an invoice if its collection method is 'send_invoice'.")
    request.service.events.add("invoice.sent", one)
    return one


def paid(request: Request, one: Object) -> Object:
    """Record that nothing is left to pay."""
    one.update(amount_paid=one["amount_due"], amount_remaining=0, attempted=True)
    return _move(request, one, "paid", "paid_at", "invoice.paid", "invoice.payment_succeeded")


def pay_by(request: Request, one: Object, method: Object) -> Object:
    """Charge a payment method for an invoice. Raises the 402 of a card that declines."""
    open_payment = request.store.all("invoice_payment", invoice=one["id"], status="open")[0]
    intent = request.store.get("payment_intent", open_payment["payment"]["payment_intent"])
    intent["amount"] = one["amount_remaining"]
    one["attempt_count"] += 1
    one["attempted"] = True
    try:
        confirm(request, intent, method)
    except Refusal:
        request.service.events.add("invoice.payment_failed", one)
        raise
    open_payment.update(status="paid", amount_paid=intent["amount"])
    open_payment["status_transitions"]["paid_at"] = request.store.clock.now()
    request.service.events.add("invoice_payment.paid", open_payment)
    return paid(request, one)


@route("POST", "/invoices/{id}/pay", "InvoicePayParams")
def pay_invoice(request: Request) -> Object:
    """Pay an invoice with a payment method, or record that it was paid elsewhere."""
    store, one, params = request.store, request.store.get("invoice", request.ids[0]), request.params
    if one["status"] not in CHARGEABLE:
        raise bad(f"Invoice is {one['status']}: it cannot be paid.", "invoice_payment_intent_requires_action")
    if params.get("paid_out_of_band"):
        _cancel_payments(request, one)
        one["amount_paid_off_stripe"] = one["amount_remaining"]
        return paid(request, one)
    settings: dict[str, Any] = store.get("customer", one["customer"])["invoice_settings"]
    chosen = params.get("payment_method") or one["default_payment_method"] or settings["default_payment_method"]
    if chosen is None:
        raise bad("There is no `default_payment_method` set on this Customer or Invoice.", "resource_missing")
    method = store.get("payment_method", chosen, "payment_method")
    if method["customer"] != one["customer"]:
        raise bad("The PaymentMethod does not belong to the Customer.", param="payment_method")
    return pay_by(request, one, method)


def _cancel_payments(request: Request, one: Object) -> None:
    now = request.store.clock.now()
    for payment in request.store.all("invoice_payment", invoice=one["id"], status="open"):
        payment["status"] = "canceled"
        payment["status_transitions"]["canceled_at"] = now
        intent = request.store.get("payment_intent", payment["payment"]["payment_intent"])
        intent.update(status="canceled", canceled_at=now, cancellation_reason="void_invoice")


@route("POST", "/invoices/{id}/void", "InvoiceVoidInvoiceParams")
def void_invoice(request: Request) -> Object:
    """Cancel an unpaid invoice."""
    one = request.store.get("invoice", request.ids[0])
    if one["status"] not in CHARGEABLE:
        raise bad(f"You can only void open or uncollectible invoices; this one is {one['status']}.")
    _cancel_payments(request, one)
    one["amount_remaining"] = 0
    return _move(request, one, "void", "voided_at", "invoice.voided")


@route("POST", "/invoices/{id}/mark_uncollectible", "InvoiceMarkUncollectibleParams")
def mark_uncollectible(request: Request) -> Object:
    """Record that nobody expects the payment."""
    one = request.store.get("invoice", request.ids[0])
    if one["status"] != "open":
        raise bad(f"You can only mark open invoices as uncollectible; this one is {one['status']}.")
    return _move(request, one, "uncollectible", "marked_uncollectible_at", "invoice.marked_uncollectible")


@route("GET", "/invoice_payments", "InvoicePaymentListParams")
def list_payments(request: Request) -> Object:
    """List payments of invoices."""
    params = request.params
    found = request.store.all("invoice_payment", invoice=params.get("invoice"), status=params.get("status"))
    return request.store.page(found, params, request.path)
