"""Usage: intervals, their keys, and their hourly sums."""
