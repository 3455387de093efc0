"""Rules of standing invoices: their lines, tax, credit notes, payments and what the ledger says is due agree."""

from __future__ import annotations

LINES = """
SELECT format('%%s: lines sum to %%s, the subtotal is %%s', i.label, s.amount, i.subtotal)
FROM billing_invoice i CROSS JOIN LATERAL (
  SELECT coalesce(sum(l.amount), 0) AS amount FROM billing_invoiceline l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.id
) s
WHERE i.tenant_id = %(tenant)s AND i.kind = 'period' AND i.number IS NOT NULL AND s.amount <> i.subtotal LIMIT 1
"""
LINE_TAX = """
SELECT format('%%s: the tax of its lines sums to %%s, its tax is %%s', i.label, s.tax, i.tax)
FROM billing_invoice i CROSS JOIN LATERAL (
  SELECT coalesce(sum(l.tax), 0) AS tax FROM billing_invoiceline l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.id
) s
WHERE i.tenant_id = %(tenant)s AND i.kind = 'period' AND i.number IS NOT NULL AND s.tax <> i.tax LIMIT 1
"""
TOTAL = """
SELECT format('%%s: %%s and %%s of tax, the total is %%s', label, subtotal, tax, total) FROM billing_invoice
WHERE tenant_id = %(tenant)s AND number IS NOT NULL AND total IS DISTINCT FROM subtotal + tax LIMIT 1
"""
RATES = """
SELECT format('%%s: the tax by rate sums to %%s, its tax is %%s', i.label, s.tax, i.tax)
FROM billing_invoice i CROSS JOIN LATERAL (
  SELECT coalesce(sum((one ->> 'tax')::numeric), 0) AS tax
  FROM jsonb_array_elements(CASE jsonb_typeof(i.taxes) WHEN 'array' THEN i.taxes ELSE '[]' END) AS one
) s
WHERE i.tenant_id = %(tenant)s AND i.kind = 'period' AND i.number IS NOT NULL AND s.tax <> i.tax LIMIT 1
"""
RECEIVABLE = """
SELECT format('%%s: %%s is due, the ledger has %%s', i.label, s.due, s.posted)
FROM billing_invoice i CROSS JOIN LATERAL (
  SELECT coalesce(sum(p.amount), 0) AS posted,
    CASE WHEN i.state = 'void' THEN 0 ELSE i.total - i.credited - i.paid + i.returned END AS due
  FROM billing_ledgerposting p WHERE p.tenant_id = i.tenant_id AND p.pot = i.id AND p.account = 'receivable'
) s
WHERE i.tenant_id = %(tenant)s AND i.number IS NOT NULL AND s.posted <> s.due LIMIT 1
"""
# The transactions of an invoice sum to zero and what is due agrees, so with tax and clearing its revenue agrees, too.
POSTED = """
WITH posted AS (
  SELECT t.invoice_id, sum(p.amount) AS amount
  FROM billing_ledgertransaction t JOIN billing_ledgerposting p ON p.tenant_id = t.tenant_id AND p.transaction_id = t.id
  WHERE t.tenant_id = %(tenant)s AND t.invoice_id IS NOT NULL AND p.account = '{account}' GROUP BY 1
)
"""
TAXED = f"""{POSTED.format(account="tax")}
SELECT format('%%s: its tax less that of credit notes is %%s, the ledger has %%s', i.label, s.tax, -coalesce(p.amount, 0))
FROM billing_invoice i LEFT JOIN posted p ON p.invoice_id = i.id CROSS JOIN LATERAL (
  SELECT CASE WHEN i.state = 'void' THEN 0 ELSE i.tax END - coalesce(sum(n.tax), 0) AS tax
  FROM billing_creditnote n WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.id
) s
WHERE i.tenant_id = %(tenant)s AND i.number IS NOT NULL AND s.tax <> -coalesce(p.amount, 0) LIMIT 1
"""  # noqa: S608 (constants)
# What a bank took of a payment that was in the wallet is no refund of the invoice.
CLEARED = f"""{POSTED.format(account="clearing")}
SELECT format('%%s: %%s came in from outside and stayed, the ledger has %%s', i.label, s.amount - w.amount, coalesce(p.amount, 0))
FROM billing_invoice i LEFT JOIN posted p ON p.invoice_id = i.id CROSS JOIN LATERAL (
  SELECT coalesce(sum(CASE m.kind WHEN 'payment' THEN m.amount ELSE -m.amount END), 0) AS amount FROM billing_payment m
  WHERE m.tenant_id = i.tenant_id AND m.invoice_id = i.id AND m.method NOT IN ('wallet', 'credit')
) s CROSS JOIN LATERAL (
  SELECT coalesce(sum(CASE m.kind WHEN 'disputed' THEN m.amount ELSE -m.amount END), 0) AS amount
  FROM billing_creditblock b JOIN billing_creditmovement m ON m.tenant_id = b.tenant_id AND m.block_id = b.id
  WHERE b.tenant_id = i.tenant_id AND b.invoice_id = i.id AND m.kind IN ('disputed', 'won_back')
) w
WHERE i.tenant_id = %(tenant)s AND i.kind = 'period' AND i.number IS NOT NULL AND s.amount - w.amount <> coalesce(p.amount, 0) LIMIT 1
"""  # noqa: S608 (constants)
BALANCED = """
SELECT format('transaction %%s of %%s is off balance by %%s %%s', t.id, i.label, sum(p.amount), p.currency)
FROM billing_ledgertransaction t JOIN billing_ledgerposting p ON p.tenant_id = t.tenant_id AND p.transaction_id = t.id
JOIN billing_invoice i ON i.tenant_id = t.tenant_id AND i.id = t.invoice_id
WHERE t.tenant_id = %(tenant)s AND t.invoice_id IS NOT NULL GROUP BY t.id, i.label, p.currency HAVING sum(p.amount) <> 0 LIMIT 1
"""
CREDITED = """
SELECT format('%%s: credit notes sum to %%s, %%s is credited', i.label, s.total, i.credited)
FROM billing_invoice i CROSS JOIN LATERAL (
  SELECT coalesce(sum(n.total), 0) AS total FROM billing_creditnote n WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.id
) s
WHERE i.tenant_id = %(tenant)s AND s.total <> i.credited LIMIT 1
"""
NOTE_LINES = """
SELECT format('%%s: its lines sum to %%s with %%s of tax, it states %%s with %%s', n.label, s.amount, s.tax, n.subtotal, n.tax)
FROM billing_creditnote n CROSS JOIN LATERAL (
  SELECT coalesce(sum(l.amount), 0) AS amount, coalesce(sum(l.tax), 0) AS tax
  FROM billing_creditnoteline l WHERE l.tenant_id = n.tenant_id AND l.note_id = n.id
) s
WHERE n.tenant_id = %(tenant)s AND (s.amount, s.tax) <> (n.subtotal, n.tax) LIMIT 1
"""
PAID = """
SELECT format('%%s: payments sum to %%s, %%s is paid', i.label, s.amount, i.paid)
FROM billing_invoice i CROSS JOIN LATERAL (
  SELECT coalesce(sum(p.amount), 0) AS amount FROM billing_payment p
  WHERE p.tenant_id = i.tenant_id AND p.invoice_id = i.id AND p.kind = 'payment'
) s
WHERE i.tenant_id = %(tenant)s AND s.amount <> i.paid LIMIT 1
"""
RETURNED = """
SELECT format('%%s: refunds and what went into the wallet sum to %%s, %%s is returned', i.label, r.amount + w.amount, i.returned)
FROM billing_invoice i CROSS JOIN LATERAL (
  SELECT coalesce(sum(p.amount), 0) AS amount FROM billing_payment p
  WHERE p.tenant_id = i.tenant_id AND p.invoice_id = i.id AND p.kind = 'refund'
) r CROSS JOIN LATERAL (
  SELECT coalesce(sum(n.to_wallet), 0) AS amount FROM billing_creditnote n WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.id
) w
WHERE i.tenant_id = %(tenant)s AND r.amount + w.amount <> i.returned LIMIT 1
"""

# A payment that is recorded while the provider is read is compared at the next reading.
PROVIDER = """
SELECT format('%%s: the payment provider has received %%s, payments of it sum to %%s', i.label, c.received, s.amount)
FROM billing_collection c JOIN billing_invoice i ON i.tenant_id = c.tenant_id AND i.id = c.invoice_id
CROSS JOIN LATERAL (
  SELECT coalesce(sum(p.amount), 0) AS amount FROM billing_payment p WHERE p.tenant_id = c.tenant_id AND p.invoice_id = c.invoice_id
    AND p.kind = 'payment' AND p.method = 'stripe' AND p.recorded_at <= c.looked_at
) s
WHERE c.tenant_id = %(tenant)s AND c.step = 'push' AND c.received <> s.amount LIMIT 1
"""

MONEY_RULES = [
    ("the lines of an invoice sum to its subtotal", LINES),
    ("the tax of an invoice's lines sums to its tax", LINE_TAX),
    ("an invoice's total is its subtotal and its tax", TOTAL),
    ("the tax of an invoice by rate sums to its tax", RATES),
    ("what is due of an invoice equals the ledger", RECEIVABLE),
    ("the tax of an invoice equals the ledger", TAXED),
    ("payments of an invoice equal the ledger", CLEARED),
    ("what an invoice posts sums to zero", BALANCED),
    ("credit notes sum to what an invoice has credited", CREDITED),
    ("the lines of a credit note sum to it", NOTE_LINES),
    ("payments sum to what an invoice has paid", PAID),
    ("refunds sum to what an invoice has returned", RETURNED),
    ("payments equal what the payment provider has received", PROVIDER),
]
