"""Invoice items."""

from __future__ import annotations

from tests.fakes.stripe import objects
from tests.fakes.stripe.errors import bad
from tests.fakes.stripe.invoices import refresh
from tests.fakes.stripe.service import Request, route, update_metadata
from tests.fakes.stripe.store import Object


@route("POST", "/invoiceitems", "InvoiceItemCreateParams")
def create_item(request: Request) -> Object:
    """Add an item to a draft, or to the customer's next invoice."""
    store, params = request.store, request.params
    if "customer" not in params:
        raise bad("Missing required param: customer.", "parameter_missing", "customer", saved=False)
    store.get("customer", params["customer"], "customer")
    currency = params.get("currency", "usd").lower()
    if (invoice_id := params.get("invoice")) is not None:
        invoice = store.get("invoice", invoice_id, "invoice")
        if invoice["status"] != "draft":
            raise bad("This invoice is no longer editable", "invoice_not_editable")
        if (invoice["customer"], invoice["currency"]) != (params["customer"], currency):
            raise bad("The invoice item's customer and currency must be those of the invoice.", param="invoice")
    now, amount = store.clock.now(), params.get("amount", 0)
    made = objects.new(
        store,
        "invoiceitem",
        amount=amount,
        currency=currency,
        customer=params["customer"],
        date=now,
        description=params.get("description"),
        invoice=invoice_id,
        net_amount=amount,
        period=params.get("period", {"start": now, "end": now}),
        pricing={"type": "price_details", "price_details": None, "unit_amount_decimal": str(amount)},
    )
    update_metadata(made, params)
    store.add(made)
    if invoice_id is not None:
        refresh(store, invoice)
    request.service.events.add("invoiceitem.created", made)
    return made


@route("GET", "/invoiceitems", "InvoiceItemListParams")
def list_items(request: Request) -> Object:
    """List invoice items."""
    params = request.params
    found = request.store.all("invoiceitem", invoice=params.get("invoice"), customer=params.get("customer"))
    return request.store.page(found, params, request.path)
