"""Estimates of run times, learnt from similar runs."""
