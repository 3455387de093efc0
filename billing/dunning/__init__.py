"""The end of dunning: an overdue invoice stops new launches and deploys, unless an operator defers that."""
