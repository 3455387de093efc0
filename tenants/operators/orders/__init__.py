"""What operators order and the ops worker does: the export and the erasure of a tenant."""
