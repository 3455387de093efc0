"""Tests of the seller's tax rates."""
