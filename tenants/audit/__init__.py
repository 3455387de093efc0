"""The audit log: each operation leaves one entry in its transaction, in a hash chain that anyone can verify."""

from tenants.audit.record import (
    AuditAction,
    MissingAuditEntry,
    operation,
    record,
    unchanged,
)

__all__ = ["AuditAction", "MissingAuditEntry", "operation", "record", "unchanged"]
