"""Long allocations: which subject holds a device slot, and its cost."""
