"""An operator inside a tenant, on the tenants' side: the ticket, the session and the read-only scope."""

from tenants.identity.looks.entering import LOOK_ENDS, LookOver, OnlyReads, entering, is_looking, open_look

__all__ = ["LOOK_ENDS", "LookOver", "OnlyReads", "entering", "is_looking", "open_look"]
