"""Models and their versions: registered, moved through stages, traced to what they were made from."""
