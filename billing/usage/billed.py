"""The usage that an invoice bills, as its lines sum it: of its month, and corrections of months before it."""

#: With `tenant`, `period`, `first`, `end` (days), `corrections` (whether to read these) and `currency`.
FROM_BILLED = """
FROM (
  SELECT * FROM billing_usagerollup WHERE tenant_id = %(tenant)s AND day >= %(first)s AND day < %(end)s AND period = %(period)s
  UNION ALL
  SELECT * FROM billing_usagerollup WHERE tenant_id = %(tenant)s AND day < period AND period = %(period)s AND %(corrections)s
) r
JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
LEFT JOIN billing_price p ON p.id = r.price_id
LEFT JOIN billing_priceversion v ON v.id = p.version_id
LEFT JOIN billing_pricebook b ON b.id = v.book_id
LEFT JOIN billing_exchangerate x ON x.id = r.rate_id
WHERE coalesce(x.target, b.currency, billing_currency(r.tenant_id, r.day)) = %(currency)s
"""
