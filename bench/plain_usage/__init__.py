"""The peer of G-b1 and G-b2: usage events in plain Django REST framework, one row each, no rating and no tenancy."""
