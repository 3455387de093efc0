"""Events between apps, the outbox that delivers them, and external events."""
