"""Approvals: what a second person answers. An app registers a kind with its operation; one table, one page, one API."""
