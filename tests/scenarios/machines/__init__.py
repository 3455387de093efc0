"""Machines that come and go, and what is billed of them."""
