"""How a deployed model does: traffic held against what training looked like, and alerts when it no longer does."""
