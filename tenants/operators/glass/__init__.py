"""Break-glass: an operator looks inside one tenant, for a reason and a short time, and only reads."""
