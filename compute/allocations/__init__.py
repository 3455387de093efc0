"""Long allocations: who holds a device slot, and what it costs."""
