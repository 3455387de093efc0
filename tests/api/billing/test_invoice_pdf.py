"""The PDF of an invoice: what it states in each currency, its bytes, and hostile texts, which are data."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from billing import queries
from billing.documents import compiling
from billing.documents.finding import document_of_invoice
from billing.invoices import crediting, voiding
from billing.metering.metering import record_usage
from billing.models import Invoice
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Project
from tests.api.billing.documents import billed, opened, pages, take, used
from tests.integration.billing.invoicing import scene
from tests.support import factories, selling
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
CUSTOMER = {
    "billing_name": "Vision AG",
    "billing_address": "Rue de l'Été 1\n1000 Zürich",
    "billing_email": "pay@vision.example",
    "tax_number": "CHE-123",
    "payment_days": 14,
}


@pytest.mark.parametrize(
    ("currency", "amounts"),
    [
        ("EUR", ["€30.00", "€5.70", "€35.70"]),
        ("USD", ["$30.00", "$5.70", "$35.70"]),
        ("JPY", ["¥30", "¥6", "¥36"]),
        ("KWD", ["KWD 30.000", "KWD 5.700", "KWD 35.700"]),
    ],
)
def test_an_invoice_states_parties_terms_lines_and_sums(
    demo_clock: DemoClock, currency: str, amounts: list[str]
) -> None:
    tenant, invoice = billed(demo_clock, 60_000, currency=currency, tax_rate=19, **CUSTOMER)
    answer = take(tenant, f"{invoice}/pdf/")
    (text,) = pages(answer)
    plain = " ".join(text.split())
    subtotal, tax, total = amounts
    for said in (
        *("Invoice", "Compute GmbH", "1 Main Street", "Tax number DE136695976", "IBAN DE00"),
        *("Vision AG", "Rue de l'Été 1", "1000 Zürich", "Tax number CHE-123", "pay@vision.example"),
        *("INV-000001", "1 to 31 March 2027", "UTC+01:00, then UTC+02:00", "2 April 2027", "16 April 2027"),
        "Payable within 14 days of the issue day, by 16 April 2027.",
        *("Vision", "Device time", "device class: cpu", "60,000", "seconds", "price version 1"),
        *(f"Subtotal {subtotal}", f"Tax {tax}", f"Total {total}", f"Amount due {total}"),
        *(f"19 % {subtotal} {tax}", "Page 1 of 1"),
    ):
        assert said in plain, f"{said!r} not in {plain}"
    assert "DRAFT" not in text
    with tenant_scope(tenant.id):
        assert bytes(Invoice.objects.get(pk=invoice).content_hash or b"").hex() in text
        entry = AuditEntry.objects.get(action="billing.document.downloaded")
    assert (entry.target_id, entry.changes["sha256"]) == (str(invoice), [None, sha256(answer.content).hexdigest()])
    assert answer["Content-Disposition"] == 'attachment; filename="INV-000001.pdf"'
    assert (answer["Cache-Control"], answer["X-Content-Type-Options"]) == ("private, no-store", "nosniff")


def test_the_same_invoice_is_the_same_bytes_in_any_process(demo_clock: DemoClock) -> None:
    tenant, invoice = billed(demo_clock, 60_000, tax_rate=19)
    first = take(tenant, f"{invoice}/pdf/").content
    demo_clock.advance(timedelta(days=9))
    with tenant_scope(tenant.id):
        type(tenant).objects.filter(pk=tenant.pk).update(timezone="Asia/Tokyo", name="Another name")
        Project.objects.filter(slug="default").update(name="Renamed")
        _, sheet = document_of_invoice(invoice)
    assert take(tenant, f"{invoice}/pdf/").content == first
    code = (
        "import sys, pickle, django; django.setup(); from billing.documents.compiling import typeset; "
        "sys.stdout.buffer.write(typeset(pickle.load(sys.stdin.buffer)))"
    )
    other = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(sheet), capture_output=True, check=True)
    assert other.stdout == first
    info = opened(first).metadata
    assert info is not None
    assert info.creation_date is not None
    assert info.creation_date.date() == scene.IN_APRIL.date()


def test_a_draft_is_marked_and_has_no_number(demo_clock: DemoClock) -> None:
    tenant = used(demo_clock, 60_000)
    answer = take(tenant, f"{scene.draft_of(tenant)}/pdf/")
    (text,) = pages(answer)
    assert "DRAFT" in text
    assert "Draft: this is not an invoice" in text
    assert "INV-" not in text
    assert "SHA-256" not in text
    assert answer["Content-Disposition"] == 'attachment; filename="draft-2027-03.pdf"'


HOSTILE = [
    '#read("/etc/passwd")',
    '#import "@preview/cetz:0.4.0"',
    "$x$ *bold* _it_ @ref <label> `raw` \\ // /* = - + ~ --- ... https://x.example",
    '"], [#panic()], ("',
]


def test_hostile_texts_are_printed_as_they_are(demo_clock: DemoClock) -> None:
    for text in HOSTILE:
        tenant = used(demo_clock, 60_000, name=text, billing_name=text, billing_address=f"{text}\n{text}")
        shown = " ".join(" ".join(pages(take(tenant, f"{scene.draft_of(tenant)}/pdf/"))).split())
        assert shown.count(text) >= 3, shown
        assert "root:" not in shown


@pytest.mark.parametrize(
    "name",
    [
        "W" * 120,
        "漢字かな交じり文の名前" * 9,
        "\u202e\u2066gro.live\u200f\u200e",
        "e\u0301\u0300" * 30,
        "👩‍🚀 مرحبا שלום",
    ],
)
def test_odd_names_neither_fail_nor_reorder_what_stands_beside_them(demo_clock: DemoClock, name: str) -> None:
    tenant = used(demo_clock, 60_000, name=name, billing_name=name)
    (text,) = pages(take(tenant, f"{scene.draft_of(tenant)}/pdf/"))
    assert "Total €30.00" in text
    assert not {"\u202e", "\u2066", "\u200f"} & set(text)


def test_long_texts_are_cut_and_stay_on_the_page(demo_clock: DemoClock) -> None:
    tenant = used(demo_clock, 60_000, billing_name="A" * 200, billing_address="B" * 2_000)
    found = pages(take(tenant, f"{scene.draft_of(tenant)}/pdf/"))
    assert len(found) == 1
    assert found[0].count("B") == 1_000  # 999 of the address, and "Billed to"
    assert "…" in found[0]


def test_two_hundred_lines_break_over_pages_with_their_heading(demo_clock: DemoClock) -> None:
    scene.name_the_seller()
    tenant = scene.used(demo_clock, *[60 + number for number in range(200)])
    scene.finalise(tenant)
    found = pages(take(tenant, f"{scene.draft_of(tenant)}/pdf/"))
    assert len(found) > 5
    assert all("Description Quantity Unit price Amount" in text for text in found[:-1])
    assert all(f"Page {n} of {len(found)}" in text for n, text in enumerate(found, start=1))
    assert sum(text.count("Device time") for text in found) == 200


def test_an_invoice_of_more_lines_than_a_table_sums_them(
    demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.documents.groups.MOST_ROWS", 3)
    scene.name_the_seller()
    tenant = scene.used(demo_clock, *[20_000] * 5)
    scene.finalise(tenant)
    (text,) = pages(take(tenant, f"{scene.draft_of(tenant)}/pdf/"))
    assert "This invoice has 5 lines. The rows above sum them; its CSV lists each of them." in text
    assert "5 lines" in text
    assert "100,000" in text
    assert "Total €50.00" in text


def test_a_correction_names_the_month_that_it_corrects(demo_clock: DemoClock) -> None:
    tenant, _ = billed(demo_clock, 60_000, tax_rate=19)
    with tenant_scope(tenant.id):
        project = Project.objects.get(slug="default")
        record_usage([interval(project.pk, scene.IN_MARCH, 40_000)])
    (text,) = pages(take(tenant, f"{scene.draft_of(tenant, scene.APRIL)}/pdf/"))
    assert "Correction of March 2027" in text
    assert "Total €23.80" in text


def test_adjustments_follow_by_kind_with_what_they_start_from(demo_clock: DemoClock) -> None:
    discount = {
        "discounts": [{"key": "friend", "percent": "10"}],
        "commitments": [{"key": "yearly", "amount": "50.00"}],
    }
    tenant, invoice = billed(demo_clock, 60_000, tax_rate=19, terms=discount)
    (text,) = pages(take(tenant, f"{invoice}/pdf/"))
    plain = " ".join(text.split())
    for said in (
        "Vision, total €30.00",
        "Commitment shortfall Commitment shortfall: yearly from €30.00 €20.00",
        "Discount Discount: friend Vision · Device time · 10 % of €30.00 −€3.00 Discount, total −€3.00",
        "Subtotal €47.00",
    ):
        assert said in plain, f"{said!r} not in {plain}"


def test_a_void_invoice_is_marked(demo_clock: DemoClock) -> None:
    tenant, invoice = billed(demo_clock, 60_000)
    with selling.role("exchequer_operator"):
        voiding.void(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, reason="wrong name", reissue=False
        )
    (text,) = pages(take(tenant, f"{invoice}/pdf/"))
    assert "VOID" in text
    assert "This invoice was withdrawn. wrong name" in text
    assert "Amount due €0.00" in text


@pytest.mark.parametrize(("limit", "value"), [("CPU_S", 0), ("MEMORY_BYTES", 60 * 2**20), ("WALL_S", 0.001)])
def test_a_child_that_exceeds_its_limits_fails_the_request_alone(
    demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch, limit: str, value: Any
) -> None:
    tenant, invoice = billed(demo_clock, 60_000)
    monkeypatch.setattr(compiling, limit, value)
    answer = take(tenant, f"{invoice}/pdf/")
    assert (answer.status_code, answer.json()["code"]) == (503, "document_failed")
    with tenant_scope(tenant.id):
        assert not AuditEntry.objects.filter(action="billing.document.downloaded").exists()


def test_more_documents_than_places_at_once_are_refused(demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant, invoice = billed(demo_clock, 60_000)
    monkeypatch.setattr(compiling, "WAIT_S", 0)
    places = [compiling._places.acquire(blocking=False) for _ in range(compiling.AT_ONCE)]
    try:
        assert all(places)
        answer = take(tenant, f"{invoice}/pdf/")
    finally:
        for _ in places:
            compiling._places.release()
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_documents")
    assert answer["Retry-After"] == "5"
    assert take(tenant, f"{invoice}/pdf/").status_code == 200


def test_a_credit_note_states_what_it_takes_off_and_where_the_money_goes(demo_clock: DemoClock) -> None:
    tenant, invoice = billed(demo_clock, 60_000, tax_rate=19, **CUSTOMER)
    with tenant_scope(tenant.id):
        line = queries.invoice_lines(invoice)[0]
    part = crediting.Part(line.id, Decimal(10))
    with selling.role("exchequer_operator"):
        note = crediting.credit(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, parts=[part], reason="a #node failed"
        )
    answer = take(tenant, f"{invoice}/credit-notes/{note}/pdf/")
    (text,) = pages(answer)
    plain = " ".join(text.split())
    for said in (
        *("Credit note", "CN-000001", "On invoice INV-000001", "Compute GmbH", "Credited to Vision AG"),
        *("Line 1 · device class: cpu · tax 19 %", "€1.90", "€10.00", "Total credited €11.90"),
        *("Off what was due €11.90", "a #node failed", "2 April 2027 (UTC)", "SHA-256 of its content"),
    ):
        assert said in plain, f"{said!r} not in {plain}"
    assert "Refunded" not in text
    assert answer["Content-Disposition"] == 'attachment; filename="CN-000001.pdf"'
    assert take(tenant, f"{invoice}/credit-notes/{note}/pdf/").content == answer.content
    credited = " ".join(pages(take(tenant, f"{invoice}/pdf/"))[0].split())
    assert "Credited −€11.90 Paid €0.00 Amount due €23.80" in credited
    for wrong in (f"{invoice}/credit-notes/{invoice}/pdf/", f"{note}/credit-notes/{note}/pdf/", f"{note}/pdf/"):
        assert take(tenant, wrong).status_code == 404


def test_head_makes_no_document_and_leaves_no_entry(demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant, invoice = billed(demo_clock, 60_000)
    monkeypatch.setattr(compiling, "CPU_S", 0)  # a document could not be made
    headers = {"Authorization": f"Bearer {factories.make_api_key(tenant)}"}
    for path in ("pdf/", "csv/", "csv/?intervals=1"):
        answer = Client().head(f"/api/v1/invoices/{invoice}/{path}", headers=headers)
        assert (answer.status_code, answer["X-Content-Type-Options"]) == (200, "nosniff")
        assert "INV-000001" in answer["Content-Disposition"]
    with tenant_scope(tenant.id):
        assert not AuditEntry.objects.filter(action="billing.document.downloaded").exists()
