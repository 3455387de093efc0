"""Every act leaves one entry in the same transaction; entries form a hash chain that anyone can verify."""

from tenants.audit.record import (
    AuditAction,
    MissingAuditEntry,
    operation,
    record,
    unchanged,
)

__all__ = ["AuditAction", "MissingAuditEntry", "operation", "record", "unchanged"]
