"""Tests of disputes, comments and grace."""
