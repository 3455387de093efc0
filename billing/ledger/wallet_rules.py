"""Rules of wallets: blocks, their movements, the ledger and the counters of prepaid money agree."""

from __future__ import annotations

BLOCKS = """
SELECT format('block %%s: %%s is left, its movements leave %%s', b.id, b.remaining, s.remaining)
FROM billing_creditblock b CROSS JOIN LATERAL (
  SELECT b.amount + coalesce(sum(CASE WHEN m.kind IN ('returned', 'won_back') THEN m.amount ELSE -m.amount END), 0) AS remaining
  FROM billing_creditmovement m WHERE m.tenant_id = b.tenant_id AND m.block_id = b.id
) s
WHERE b.tenant_id = %(tenant)s AND b.remaining <> s.remaining LIMIT 1
"""
PROMOTIONS = """
SELECT format('promotional block %%s: %%s is left, the ledger has %%s', b.id, b.remaining, s.posted)
FROM billing_creditblock b CROSS JOIN LATERAL (
  SELECT coalesce(-sum(p.amount), 0) AS posted FROM billing_ledgerposting p
  WHERE p.tenant_id = b.tenant_id AND p.pot = b.id AND p.account = 'credit'
) s
WHERE b.tenant_id = %(tenant)s AND b.kind = 'promotional' AND b.remaining <> s.posted LIMIT 1
"""
WALLETS = """
SELECT format('the wallet in %%s: its blocks have %%s left, the ledger has %%s', currency, coalesce(b.amount, 0), coalesce(p.amount, 0))
FROM (
  SELECT currency, sum(remaining) AS amount FROM billing_creditblock WHERE tenant_id = %(tenant)s AND kind = 'paid' GROUP BY 1
) b FULL JOIN (
  SELECT currency, -sum(amount) AS amount FROM billing_ledgerposting
  WHERE tenant_id = %(tenant)s AND pot = %(tenant)s AND account = 'wallet' GROUP BY 1
) p USING (currency)
WHERE coalesce(b.amount, 0) <> coalesce(p.amount, 0) LIMIT 1
"""
PREPAID = """
SELECT format('the wallet in %%s: it counts %%s held and %%s unbilled; there is %%s and %%s', w.currency, w.held, w.spent, u.held, u.spent)
FROM billing_wallet w CROSS JOIN LATERAL billing_prepaid_use(w.currency) u
WHERE w.tenant_id = %(tenant)s AND w.counted AND (w.held, w.spent) IS DISTINCT FROM (u.held, u.spent) LIMIT 1
"""
UNCOUNTED = """
SELECT format('the contract from %%s is prepaid, and no wallet in %%s counts', c.starts_on, c.currency) FROM billing_contract c
WHERE c.tenant_id = %(tenant)s AND c.terms @> '{"prepaid": true}' AND NOT EXISTS (
  SELECT FROM billing_wallet w WHERE w.tenant_id = c.tenant_id AND w.currency = c.currency AND w.counted) LIMIT 1
"""

WALLET_RULES = [
    ("what is left of a block of credit follows from its movements", BLOCKS),
    ("what is left of promotional credit equals the ledger", PROMOTIONS),
    ("what is left of paid credit equals the wallet in the ledger", WALLETS),
    ("a prepaid wallet counts what is held and unbilled", PREPAID),
    ("the wallet of a prepaid contract counts", UNCOUNTED),
]
