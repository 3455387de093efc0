"""What usage costs: metering, prices, holds against budgets, and the invoice."""
