"""REST endpoints of chargeback and of shared cost."""
