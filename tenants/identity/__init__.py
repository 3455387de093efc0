"""People and programs: log-in, API keys, members, invitations, and where each credential comes from."""
