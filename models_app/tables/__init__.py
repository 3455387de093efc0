"""From an uploaded file to checked columns and their profile. No Django: the sandboxed child imports this."""
