"""Start of Exchequer: the embedded services, the local supervisor and the servers of a fleet."""
