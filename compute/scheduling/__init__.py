"""Who gets which device, and the one process that hands them out."""
