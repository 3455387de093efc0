"""New objects with every field that the published reference shows, and the current state of nothing else."""

from __future__ import annotations

from typing import Any

from tests.fakes.stripe.store import Object, Store

#: What these kinds lack of the fields that most have.
WITHOUT = {
    "invoiceitem": ("created",), "line_item": ("created",), "credit_note_line_item": ("created",),
    "invoice_payment": ("metadata",), "refund": ("livemode",),
}  # fmt: skip
ADDRESS = dict.fromkeys(["city", "country", "line1", "line2", "postal_code", "state"])


def nothing(names: str) -> Object:
    """Return these fields as null."""
    return dict.fromkeys(names.split())


def listed(url: str, data: list[Object]) -> Object:
    """Return a list inside an object."""
    return {"object": "list", "url": url, "has_more": False, "data": data}


def new(store: Store, kind: str, **fields: Any) -> Object:
    """Return a new object of a kind, not stored yet."""
    common = {"id": store.new_id(kind), "object": kind, "created": store.clock.now(), "livemode": store.livemode}
    made = {**common, "metadata": {}, **SHAPES[kind](), **fields}
    return {name: value for name, value in made.items() if name not in WITHOUT.get(kind, ())}


def customer() -> Object:
    """Return the fields of a customer."""
    return {
        **nothing("address currency default_source description discount email name phone shipping test_clock"),
        "balance": 0,
        "delinquent": False,
        "invoice_prefix": "7FE1103",
        "invoice_settings": nothing("custom_fields default_payment_method footer rendering_options"),
        "next_invoice_sequence": 1,
        "preferred_locales": [],
        "tax_exempt": "none",
    }


def payment_method() -> Object:
    """Return the fields of a saved card."""
    return {
        **nothing("customer customer_account"),
        "allow_redisplay": "unspecified",
        "billing_details": {"address": ADDRESS, **nothing("email name phone tax_id")},
        "type": "card",
    }


def setup_intent() -> Object:
    """Return the fields of a setup intent."""
    return {
        **nothing(
            "application automatic_payment_methods cancellation_reason client_secret customer customer_account description "
            "excluded_payment_method_types flow_directions last_setup_error latest_attempt mandate next_action "
            "on_behalf_of payment_method payment_method_configuration_details single_use_mandate"
        ),
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "status": "requires_payment_method",
        "usage": "off_session",
    }


def invoiceitem() -> Object:
    """Return the fields of an invoice item."""
    return {
        **nothing("customer_account description invoice parent pricing test_clock"),
        "discountable": True,
        "discounts": [],
        "proration": False,
        "quantity": 1,
        "quantity_decimal": "1",
        "tax_rates": [],
    }


def line_item() -> Object:
    """Return the fields of a line of an invoice."""
    return {
        **nothing("description pretax_credit_amounts pricing subscription taxes"),
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "quantity": 1,
        "quantity_decimal": "1",
    }


def invoice() -> Object:
    """Return the fields of a draft."""
    return {
        **nothing(
            "account_name account_tax_ids application automatically_finalizes_at custom_fields customer_account "
            "customer_address customer_email customer_name customer_phone customer_shipping default_payment_method "
            "default_source description due_date effective_at ending_balance footer from_invoice hosted_invoice_url "
            "invoice_pdf last_finalization_error latest_revision next_payment_attempt number on_behalf_of parent "
            "receipt_number rendering shipping_cost shipping_details statement_descriptor subtotal_excluding_tax "
            "test_clock total_excluding_tax total_pretax_credit_amounts total_taxes webhooks_delivered_at"
        ),
        **dict.fromkeys(
            ["amount_due", "amount_overpaid", "amount_paid", "amount_paid_off_stripe", "amount_remaining", "amount_shipping",
             "attempt_count", "post_payment_credit_notes_amount", "pre_payment_credit_notes_amount", "starting_balance",
             "subtotal", "total"], 0),
        "account_country": "US",
        "attempted": False,
        "automatic_tax": {"enabled": False, **nothing("disabled_reason liability provider status")},
        "billing_reason": "manual",
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_tax_rates": [],
        "discounts": [],
        "issuer": {"type": "self"},
        "payment_settings": nothing("default_mandate payment_method_options payment_method_types"),
        "status": "draft",
        "status_transitions": nothing("finalized_at marked_uncollectible_at paid_at voided_at"),
        "total_discount_amounts": [],
    }  # fmt: skip


def invoice_payment() -> Object:
    """Return the fields of a payment of an invoice."""
    return {
        "amount_paid": None,
        "is_default": True,
        "status": "open",
        "status_transitions": nothing("canceled_at paid_at"),
    }


def credit_note() -> Object:
    """Return the fields of a credit note."""
    return {
        **nothing(
            "customer_account customer_balance_transaction memo out_of_band_amount reason shipping_cost "
            "total_taxes voided_at"
        ),
        "amount_shipping": 0,
        "discount_amount": 0,
        "discount_amounts": [],
        "post_payment_amount": 0,
        "pre_payment_amount": 0,
        "pretax_credit_amounts": [],
        "refunds": [],
        "status": "issued",
    }


def credit_note_line_item() -> Object:
    """Return the fields of a line of a credit note."""
    return {
        **nothing("description invoice_line_item taxes unit_amount unit_amount_decimal"),
        "discount_amount": 0,
        "discount_amounts": [],
        "pretax_credit_amounts": [],
        "quantity": 1,
        "tax_rates": [],
    }


def refund() -> Object:
    """Return the fields of a refund."""
    return {
        **nothing(
            "balance_transaction charge customer customer_account failure_balance_transaction payment_intent "
            "payment_method pending_reason reason receipt_number source_transfer_reversal transfer_reversal"
        ),
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "status": "succeeded",
    }


def charge() -> Object:
    """Return the fields of a charge."""
    return {
        **nothing(
            "application application_fee application_fee_amount balance_transaction calculated_statement_descriptor customer "
            "description failure_balance_transaction failure_code failure_message on_behalf_of outcome payment_intent "
            "payment_method receipt_email receipt_number receipt_url review shipping source source_transfer "
            "statement_descriptor statement_descriptor_suffix transfer_data transfer_group"
        ),
        "amount_refunded": 0,
        "billing_details": {"address": ADDRESS, **nothing("email name phone tax_id")},
        "disputed": False,
        "fraud_details": {},
        "refunded": False,
    }


def payment_intent() -> Object:
    """Return the fields of a payment intent."""
    return {
        **nothing(
            "application application_fee_amount automatic_payment_methods canceled_at cancellation_reason client_secret customer "
            "customer_account description excluded_payment_method_types last_payment_error latest_charge next_action "
            "on_behalf_of payment_method payment_method_configuration_details processing receipt_email review "
            "setup_future_usage shipping source statement_descriptor statement_descriptor_suffix transfer_data "
            "transfer_group managed_payments"
        ),
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        **dict.fromkeys(["capture_method", "confirmation_method"], "automatic"),
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "status": "requires_payment_method",
    }


def session() -> Object:
    """Return the fields of a Checkout session."""
    return {
        **nothing(
            "adaptive_pricing after_expiration allow_promotion_codes amount_subtotal amount_total billing_address_collection "
            "cancel_url client_reference_id client_secret collected_information consent consent_collection currency "
            "currency_conversion customer customer_account customer_creation customer_details customer_email discounts "
            "integration_identifier invoice invoice_creation locale managed_payments origin_context payment_intent "
            "payment_link payment_method_collection payment_method_configuration_details permissions recovered_from "
            "saved_payment_method_options setup_intent shipping_address_collection shipping_cost submit_type "
            "subscription success_url url wallet_options"
        ),
        "automatic_tax": {"enabled": False, **nothing("liability provider status")},
        "custom_fields": [],
        "custom_text": nothing("after_submit shipping_address submit terms_of_service_acceptance"),
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
    }


SHAPES = {
    "customer": customer, "payment_method": payment_method, "setup_intent": setup_intent, "invoiceitem": invoiceitem,
    "line_item": line_item, "invoice": invoice, "invoice_payment": invoice_payment, "credit_note": credit_note,
    "credit_note_line_item": credit_note_line_item, "refund": refund, "charge": charge,
    "payment_intent": payment_intent, "checkout.session": session, "event": dict,
}  # fmt: skip
