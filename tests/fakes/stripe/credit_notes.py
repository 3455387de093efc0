"""Credit notes: on an open invoice they lower the amount due, on a paid one money returns."""

from __future__ import annotations

from tests.fakes.stripe import objects
from tests.fakes.stripe.errors import bad
from tests.fakes.stripe.invoices import paid
from tests.fakes.stripe.payments import give_back
from tests.fakes.stripe.service import Request, route, update_metadata
from tests.fakes.stripe.store import Object

RETURNED = ("refund_amount", "credit_amount", "out_of_band_amount")


@route("POST", "/credit_notes", "CreditNoteCreateParams")
def create_credit_note(request: Request) -> Object:
    """Credit a finalised invoice. Raises 400 beyond what is left of it."""
    store, params = request.store, request.params
    invoice = store.get("invoice", params["invoice"], "invoice")
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise bad(f"You cannot credit an invoice that is {invoice['status']}.", "invoice_not_editable")
    lines = [_line(request, line) for line in params.get("lines", [])]
    total = sum(line["amount"] for line in lines) if lines else params.get("amount", 0)
    if total <= 0:
        raise bad("You must pass one of `amount`, `lines`, or `shipping_cost`, above zero.", "parameter_missing")
    is_paid = invoice["status"] == "paid"
    _check(invoice, params, total, is_paid=is_paid)
    made = objects.new(
        store,
        "credit_note",
        amount=total,
        currency=invoice["currency"],
        customer=invoice["customer"],
        effective_at=store.clock.now(),
        invoice=invoice["id"],
        memo=params.get("memo"),
        number=f"{invoice['number']}-CN-{len(store.all('credit_note', invoice=invoice['id'])) + 1:02}",
        out_of_band_amount=params.get("out_of_band_amount"),
        pdf=f"{request.service.address}/credit_note.pdf",
        reason=params.get("reason"),
        subtotal=total,
        subtotal_excluding_tax=total,
        total=total,
        total_excluding_tax=total,
        type="post_payment" if is_paid else "pre_payment",
        **{"post_payment_amount" if is_paid else "pre_payment_amount": total},
    )
    made["lines"] = objects.listed(f"/v1/credit_notes/{made['id']}/lines", lines)
    update_metadata(made, params)
    store.add(made)
    if is_paid:
        invoice["post_payment_credit_notes_amount"] += total
        store.get("customer", invoice["customer"])["balance"] -= params.get("credit_amount", 0)
        made["refunds"] = _refunded(request, invoice, params.get("refund_amount", 0))
    else:
        invoice["pre_payment_credit_notes_amount"] += total
        invoice["amount_due"] -= total
        invoice["amount_remaining"] -= total
        if invoice["amount_remaining"] == 0:
            paid(request, invoice)
    request.service.events.add("credit_note.created", made)
    return made


def _check(invoice: Object, params: Object, total: int, *, is_paid: bool) -> None:
    if is_paid:
        if sum(params.get(name, 0) for name in RETURNED) != total:
            message = (
                "The sum of credit_amount, refund_amount and out_of_band_amount must equal the credit note amount."
            )
            raise bad(message, param="amount")
        left = invoice["amount_paid"] - invoice["post_payment_credit_notes_amount"]
    else:
        left = invoice["amount_remaining"]
    if total > left:
        raise bad(f"The credit note amount ({total}) exceeds what is left of the invoice ({left}).", param="amount")


def _line(request: Request, given: Object) -> Object:
    amount = given.get("amount", given.get("unit_amount", 0) * given.get("quantity", 1))
    return objects.new(
        request.store,
        "credit_note_line_item",
        amount=amount,
        description=given.get("description"),
        type=given["type"],
        unit_amount=given.get("unit_amount"),
        unit_amount_decimal=str(given["unit_amount"]) if "unit_amount" in given else None,
    )


def _refunded(request: Request, invoice: Object, amount: int) -> list[Object]:
    if not amount:
        return []
    payments = request.store.all("invoice_payment", invoice=invoice["id"], status="paid")
    if not payments:
        raise bad("There is no charge on this invoice to refund.", param="refund_amount")
    intent = request.store.get("payment_intent", payments[0]["payment"]["payment_intent"])
    refund = give_back(request, request.store.get("charge", intent["latest_charge"]), amount, {})
    return [{"amount_refunded": amount, "refund": refund["id"], "payment_record_refund": None, "type": "refund"}]


@route("GET", "/credit_notes", "CreditNoteListParams")
def list_credit_notes(request: Request) -> Object:
    """List credit notes."""
    params = request.params
    found = request.store.all("credit_note", invoice=params.get("invoice"), customer=params.get("customer"))
    return request.store.page(found, params, request.path)


@route("GET", "/credit_notes/{id}", "CreditNoteRetrieveParams")
def get_credit_note(request: Request) -> Object:
    """Return a credit note."""
    return request.store.get("credit_note", request.ids[0])


@route("POST", "/credit_notes/{id}/void", "CreditNoteVoidCreditNoteParams")
def void_credit_note(request: Request) -> Object:
    """Cancel a credit note of an open invoice."""
    one = request.store.get("credit_note", request.ids[0])
    invoice = request.store.get("invoice", one["invoice"])
    if one["status"] == "void" or invoice["status"] != "open":
        raise bad("You can only void a credit note on an open invoice.")
    one.update(status="void", voided_at=request.store.clock.now())
    invoice["pre_payment_credit_notes_amount"] -= one["total"]
    invoice["amount_due"] += one["total"]
    invoice["amount_remaining"] += one["total"]
    request.service.events.add("credit_note.voided", one)
    return one
