"""Job arrays: one request, many values, one money cap."""
