"""Replay recorded jobs through the policy that production runs, beside static quotas and a limit nobody can pass."""
