"""Who acts, with which permissions."""
