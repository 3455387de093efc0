"""The calls to Stripe that the gateway is made of; loaded only where a Stripe key is set."""
