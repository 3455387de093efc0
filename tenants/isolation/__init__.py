"""The two mechanisms of tenant isolation: the manager that requires a scope, and row-level security."""
