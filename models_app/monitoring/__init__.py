"""Monitoring of deployed models: windows of traffic, feedback, alerts."""
