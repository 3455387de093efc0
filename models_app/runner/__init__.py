"""Code that runs inside the sandbox: no Django, no database, no credentials."""
