"""Payment intents, their charges, and refunds."""

from __future__ import annotations

from tests.fakes.stripe import objects
from tests.fakes.stripe.customers import CARDS, DECLINES, charged_card, new_method
from tests.fakes.stripe.errors import bad, declined
from tests.fakes.stripe.service import Request, route, update_metadata
from tests.fakes.stripe.store import Object

LEAST = {"jpy": 50, "krw": 100, "kwd": 200}
THREE_DECIMALS = {"bhd", "jod", "kwd", "omr", "tnd"}
TWO_DECIMALS_WITHOUT_MINOR = {"isk", "ugx"}


def check_amount(amount: int, currency: str) -> None:
    """Refuse what the networks do not carry."""
    step = 10 if currency in THREE_DECIMALS else 100 if currency in TWO_DECIMALS_WITHOUT_MINOR else 1
    if amount % step:
        raise bad(f"Invalid amount for {currency}: it must be divisible by {step}.", "invalid_charge_amount", "amount")


def new_intent(request: Request, amount: int, currency: str, customer: str | None, **fields: object) -> Object:
    """Keep a payment intent that nobody has paid."""
    check_amount(amount, currency)
    made = objects.new(request.store, "payment_intent", amount=amount, currency=currency, customer=customer, **fields)
    made["client_secret"] = f"{made['id']}_secret_x"
    request.service.events.add("payment_intent.created", request.store.add(made))
    return made


def confirm(request: Request, intent: Object, method: Object) -> None:
    """Charge a payment method for an intent. Raises the 402 of a card that declines."""
    code = DECLINES[method["card"]["last4"]]
    charge = objects.new(
        request.store,
        "charge",
        amount=intent["amount"],
        amount_captured=0 if code else intent["amount"],
        captured=not code,
        currency=intent["currency"],
        customer=intent["customer"],
        metadata=dict(intent["metadata"]),
        paid=not code,
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details={"card": charged_card(method["card"]), "type": "card"},
        status="failed" if code else "succeeded",
    )
    intent.update(latest_charge=request.store.add(charge)["id"], payment_method=method["id"])
    if not code:
        intent.update(status="succeeded", amount_received=intent["amount"], last_payment_error=None)
        request.service.events.add("charge.succeeded", charge)
        request.service.events.add("payment_intent.succeeded", intent)
        return
    refusal = declined(code, charge=charge["id"])
    if code == "authentication_required":
        refusal.body["error"]["code"] = code
    charge.update(failure_code="card_declined", failure_message=str(refusal))
    intent.update(status="requires_payment_method", payment_method=None, last_payment_error=dict(refusal.body["error"]))
    request.service.events.add("charge.failed", charge)
    request.service.events.add("payment_intent.payment_failed", intent)
    raise refusal


@route("POST", "/payment_intents", "PaymentIntentCreateParams")
def create_intent(request: Request) -> Object:
    """Create a payment intent; with `confirm` it is charged at once."""
    params, currency = request.params, request.params["currency"].lower()
    customer = params.get("customer")
    if customer is not None:
        request.store.get("customer", customer, "customer")
    if params["amount"] < LEAST.get(currency, 1):
        raise bad("Amount must convert to at least 50 cents.", "amount_too_small", "amount")
    method = _method(request, params["payment_method"], customer) if "payment_method" in params else None
    made = new_intent(request, params["amount"], currency, customer, description=params.get("description"))
    update_metadata(made, params)
    if params.get("confirm"):
        if method is None:
            raise bad("You must provide a payment method to confirm.", "payment_intent_unexpected_state")
        confirm(request, made, method)
    return made


def _method(request: Request, method_id: str, customer: str | None) -> Object:
    one = new_method(request, method_id) if method_id in CARDS else request.store.get("payment_method", method_id)
    if one["customer"] not in (None, customer):
        raise bad("The PaymentMethod does not belong to this customer.", param="payment_method")
    return one


@route("GET", "/payment_intents", "PaymentIntentListParams")
def list_intents(request: Request) -> Object:
    """List payment intents."""
    found = request.store.all("payment_intent", customer=request.params.get("customer"))
    return request.store.page(found, request.params, request.path)


@route("GET", "/payment_intents/search", "PaymentIntentSearchParams")
def search_intents(request: Request) -> Object:
    """Search payment intents."""
    return request.store.search("payment_intent", request.params, request.path)


@route("GET", "/payment_intents/{id}", "PaymentIntentRetrieveParams")
def get_intent(request: Request) -> Object:
    """Return a payment intent."""
    return request.store.get("payment_intent", request.ids[0])


@route("GET", "/charges/{id}", "ChargeRetrieveParams")
def get_charge(request: Request) -> Object:
    """Return a charge."""
    return request.store.get("charge", request.ids[0])


def give_back(request: Request, charge: Object, amount: int | None, params: Object) -> Object:
    """Refund a charge, in part or whole. Raises 400 beyond what is left."""
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = left if amount is None else amount
    if charge["refunded"]:
        raise bad(f"Charge {charge['id']} has already been refunded.", "charge_already_refunded")
    if not 0 < amount <= left:
        raise bad(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount")
    made = objects.new(
        request.store,
        "refund",
        amount=amount,
        charge=charge["id"],
        currency=charge["currency"],
        payment_intent=charge["payment_intent"],
        reason=params.get("reason"),
    )
    update_metadata(made, params)
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    request.service.events.add("refund.created", request.store.add(made))
    request.service.events.add("charge.refunded", charge)
    return made


@route("POST", "/refunds", "RefundCreateParams")
def create_refund(request: Request) -> Object:
    """Refund a payment."""
    params = request.params
    charge_id = params.get("charge")
    if charge_id is None:
        if "payment_intent" not in params:
            raise bad("One of the following params should be provided for this request: payment_intent or charge.")
        charge_id = request.store.get("payment_intent", params["payment_intent"], "payment_intent")["latest_charge"]
    if charge_id is None:
        raise bad("This PaymentIntent does not have a successful charge to refund.")
    return give_back(request, request.store.get("charge", charge_id, "charge"), params.get("amount"), params)


@route("GET", "/refunds", "RefundListParams")
def list_refunds(request: Request) -> Object:
    """List refunds."""
    found = request.store.all(
        "refund", payment_intent=request.params.get("payment_intent"), charge=request.params.get("charge")
    )
    return request.store.page(found, request.params, request.path)


@route("GET", "/refunds/{id}", "RefundRetrieveParams")
def get_refund(request: Request) -> Object:
    """Return a refund."""
    return request.store.get("refund", request.ids[0])
