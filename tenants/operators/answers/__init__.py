"""Requests of tenants that operators answer."""
