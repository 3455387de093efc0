"""What pages and endpoints of every app are built with."""
