"""Benchmarks: one file per figure, one table of ratios. Each ratio is measured in one run, its sides interleaved."""
