"""How Exchequer is started: the embedded services, the local supervisor and what a fleet needs."""
