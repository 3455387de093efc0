"""From an uploaded file to checked columns and their profile. Runs in the sandbox only."""
