"""The two locks between tenants: the manager that needs a scope, and row-level security."""
