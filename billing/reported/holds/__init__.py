"""Holds for work that is not ours: a service outside asks first, settles by its events and releases the rest."""
