"""How a deployed model does: windows of traffic, feedback, alerts."""
