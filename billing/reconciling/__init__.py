"""Reconciliation of all tenants, each night and on demand; a tenant whose figures differ is parked."""
