"""Pure measures of a deployed model: distributions, drift, latency, windows, signed prediction ids."""
