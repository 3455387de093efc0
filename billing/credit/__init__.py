"""Credit as bills and holds read it: what is open, and how far a prepaid wallet covers work."""
