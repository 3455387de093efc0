"""What was used: intervals, their keys, and their hourly sums."""
