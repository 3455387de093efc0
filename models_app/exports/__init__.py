"""Archives of everything of a tenant: JSON Lines for each table, the audit chain with its proof, and checksums."""
