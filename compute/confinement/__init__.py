"""Kernel doors that `compute.sandbox` closes; standard library only, so that the child can import it."""
