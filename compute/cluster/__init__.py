"""What the console sees of all organisations: the cluster's bill, and idle work."""
