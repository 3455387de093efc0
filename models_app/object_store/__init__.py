"""The object store: keys by tenant, encrypted, brought to work folders."""
