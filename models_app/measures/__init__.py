"""Pure measures of a model in use: distributions, drift, latency, windows, signed prediction ids."""
