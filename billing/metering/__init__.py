"""Accept measured usage: keys deduplicate, prices rate, holds pay, roll-ups sum."""
