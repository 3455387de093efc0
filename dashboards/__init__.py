"""What people look at: the Dash bridge, its charts, and the pages that read every other room."""
