"""What one app tells another: frozen events, the outbox that delivers them, and work that waits for servers outside."""
