"""The object store: keys by tenant, encryption, staging."""
