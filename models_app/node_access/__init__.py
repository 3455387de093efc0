"""What nodes are handed for their live work: a tenant's data keys, and links to the files of that work."""
