"""The door by which an operator enters to look inside a tenant, with a ticket of the console."""

from tenants.views.looks.door import look_leave, look_open

__all__ = ["look_leave", "look_open"]
