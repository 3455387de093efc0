"""The seller's table of tax rates, and the form of tax ids."""
