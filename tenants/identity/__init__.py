"""People and programs: login, API keys, members, invitations, and the provenance of credentials."""
