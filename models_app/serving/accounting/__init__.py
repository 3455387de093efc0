"""What answers cost: money held ahead, the spool, settlement with billing."""
