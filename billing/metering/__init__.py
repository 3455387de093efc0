"""Accept measured usage: keys decide, prices rate, holds pay, roll-ups sum."""
