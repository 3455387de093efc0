"""What members should know, and the mail that tells them."""
