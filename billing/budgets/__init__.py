"""Budgets: their counters, the holds against them, and the alerts of their thresholds."""
