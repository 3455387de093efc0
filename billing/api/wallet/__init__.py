"""The API of the wallet."""
