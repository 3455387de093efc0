"""Platform events: what operators should know, sent to webhooks of theirs and by email.

Apps register types in `catalogue` and raise events (`raising`), also of what no transaction says, as a silent host (`conditions`).
`spreading` makes deliveries and emails of them; `delivering` and `emailing` make one attempt each.
"""
