"""Pages of presets, and what the launch form does with them."""
